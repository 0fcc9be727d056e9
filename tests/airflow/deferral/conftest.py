"""The drivers and records of the lifecycle's tests."""

from tests.lifecycle.conftest import make, record, records

__all__ = ["make", "record", "records"]
