"""Stop an execution after its command was killed, using the command's environment."""

from __future__ import annotations

from collections.abc import Callable

from sagebridge_operators.backends import open_backend, open_records
from sagebridge_operators.lifecycle.ending import Ending


def stop_killed_execution(execution: str, end_workers: Callable[[], object]) -> None:
    """Stop the jobs and the workers, and record the end unless it is recorded already."""
    backend = open_backend()
    records = open_records(backend)
    if records.end(execution) is not None:
        end_workers()
        return
    Ending(records, execution, lambda attempt: backend).abort(
        "Stopped", "the command that ran it was killed", end_workers=end_workers, workers=True
    )
