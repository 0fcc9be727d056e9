"""Ends an execution whose command was killed, from the environment that the command left."""

from __future__ import annotations

from collections.abc import Callable

from sagebridge_operators.backends import open_backend, open_records
from sagebridge_operators.lifecycle.ending import Ending


def stop_killed_execution(execution: str, end_workers: Callable[[], object]) -> None:
    """Stops the jobs of an execution, ends its workers and records why; an ended one stays so."""
    backend = open_backend()
    records = open_records(backend)
    if records.end(execution) is not None:
        end_workers()
        return
    Ending(records, execution, lambda attempt: backend).abort(
        "Stopped", "the command that ran it was killed", end_workers=end_workers, workers=True
    )
