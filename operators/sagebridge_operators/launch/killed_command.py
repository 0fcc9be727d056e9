"""Stops an execution from the environment that its command left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagebridge_operators.backends import open_backend, records_location
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.records import ExecutionRecords, open_objects
from sagebridge_operators.lifecycle.stopping import settle, stop, stop_jobs


def open_records(backend: Backend) -> ExecutionRecords:
    """The records that the environment names."""
    return ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))


@contextmanager
def stop_killed_execution(execution: str) -> Iterator[None]:
    """Around the end of the workers of an execution whose command was killed.

    Its jobs are stopped while workers are there to record it; how it ended is recorded when none
    is left. One that had ended stays as it is.
    """
    backend = open_backend()
    records = open_records(backend)
    if records.end(execution) is not None:
        yield
        return
    stop(records, backend, execution)
    yield
    end = records.end(execution)
    if end is None or end["status"] == "Stopped":
        reason = "the command that ran it was killed"
        stop_jobs(records, backend, execution)
        settle(records, backend, execution, "Stopped", reason)
        records.finish(execution, "Stopped", reason)
