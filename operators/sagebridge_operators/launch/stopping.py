"""Stops an execution from the environment that its command left."""

from __future__ import annotations

from sagebridge_operators.backends import open_backend, records_location
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.records import ExecutionRecords, open_objects
from sagebridge_operators.lifecycle.stopping import settle, stop


def open_records(backend: Backend) -> ExecutionRecords:
    """The records that the environment names."""
    return ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))


def abandon(execution: str) -> None:
    """Stops an execution whose command was killed, from the environment that it left."""
    backend = open_backend()
    records = open_records(backend)
    stop(records, backend, execution)
    reason = "the command that ran it was killed"
    settle(records, backend, execution, "Stopped", reason)
    if records.end(execution) is None:
        records.finish(execution, "Stopped", reason)
