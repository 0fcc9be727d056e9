"""Opens an execution, and decides what a worker that comes to a step does.

No other module writes the record of an execution.

| record of the step and index | the engine starts | decision |
|---|---|---|
| none | a first try | a new attempt |
| of an earlier generation | a cleared task, a retried flow run | the next generation |
| planned, created or stopping | a try after a lost worker | the same attempt |
| ended | a try after a lost worker | keep: the same result |
| of a later generation | a worker that was thought lost | refused |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, now
from sagebridge_operators.lifecycle.objects import Conflict
from sagebridge_operators.lifecycle.records import DAYS, ExecutionRecords
from sagebridge_operators.run_errors import OlderRecord, Superseded


def open_execution(
    records: ExecutionRecords,
    execution: str,
    body: Mapping[str, Any],
    definition: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """The record of an execution; whichever of its steps comes first writes it.

    Raises OlderRecord.
    """
    there = records.execution(execution)
    if there is None:
        records.describe(execution, definition())
        day, _, time = str(body["started"]).partition("T")
        records.objects.put(f"{DAYS}{day}/{time[:8].replace(':', '')}-{execution}.json", {})
        try:
            records.objects.create(_key(execution), body)
            return dict(body)
        except Conflict:
            there = records.execution(execution) or {}
    if there.get("format") != FORMAT:
        raise OlderRecord(f"execution {execution}")
    return there


def complete_execution(records: ExecutionRecords, execution: str, body: Mapping[str, Any]) -> None:
    """Adds what the command that opened an execution could not know; what is there stays."""
    there = records.execution(execution) or {}
    if body.keys() - there.keys():
        records.objects.put(_key(execution), {**body, **there})


def reopen_execution(records: ExecutionRecords, execution: str) -> None:
    """An execution goes on after its end: neither ended nor asked to stop any more."""
    records.objects.remove(f"{execution}/end.json")
    records.objects.remove(f"{execution}/stop.json")


def started(body: Mapping[str, Any]) -> datetime:
    """``Execution.StartDateTime``, which is the same for every step and try."""
    return datetime.fromisoformat(body["started"])


def decide(records: ExecutionRecords, wanted: Attempt) -> tuple[Attempt, bool]:
    """The attempt that a worker goes on with, and whether another worker had begun it.

    ``wanted`` is the attempt as the engine asks for it, without number, phase or job. Raises
    :class:`Superseded` for a worker of an earlier generation than is recorded.
    """
    found = [
        one for one in records.current(wanted.execution, wanted.step) if one.index == wanted.index
    ]
    if not found or found[0].generation < wanted.generation:
        return wanted, False
    (there,) = found
    if there.generation > wanted.generation:
        raise Superseded(there.step, there.state)
    return there, True


def first_attempt(
    execution: str, step: str, type_: str, *, generation: int = 0, index: tuple[int, ...] = ()
) -> Attempt:
    """The attempt that an engine asks for."""
    return Attempt(execution, step, type_, now(), index=index, generation=generation)


def _key(execution: str) -> str:
    return f"{execution}/execution.json"
