"""The counters of a retried execution, and what its earlier attempts still count for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagebridge import read
from sagebridge.errors import UsageError
from sagebridge_operators.lifecycle.attempt import FORMAT
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder, WriteConflict
from sagebridge_operators.lifecycle.opening import open_execution, retry_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.lifecycle.step_states import states, status
from tests.attempts import attempt_of
from tests.definition import step
from tests.fakes import FakeBackend

ID = "aa11aa11aa11"
DEFINITION = {"Steps": [step("A", "Training"), step("B", "Training", DependsOn=["A"])]}


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    found = ExecutionRecords(Folder(tmp_path))
    open_execution(found, ID, {"format": FORMAT, "started": "2026-11-21T0"}, lambda: DEFINITION)
    found.save(attempt_of(ID, "A", "Training", "Succeeded", engine_try=1, generation=2))
    found.save(attempt_of(ID, "B", "Training", "Failed", engine_try=4, generation=5))
    return found


def retry_of(records: ExecutionRecords) -> Retry:
    return Retry.of(records.execution(ID))


def test_counters_grow_on_a_new_engine(records: ExecutionRecords) -> None:
    assert retry_of(records).count(records.attempts(ID, "B"), 2, 1, again=False) == (2, 1)
    retry_execution(records, ID)

    retry = retry_of(records)
    assert retry.count(records.attempts(ID, "A"), 2, 1, again=False) == (2, 1)
    assert retry.count(records.attempts(ID, "A"), 5, 2, again=True) == (11, 6)
    assert retry.count(records.attempts(ID, "B"), 2, 1, again=False) == (8, 5)
    assert retry.count((), 2, 1, again=False) == (8, 5)


def test_steps_that_ran_because_of_a_failure_run_again(tmp_path: Path) -> None:
    final = step("Z", "Training", DependsOn=[{"Step": "B", "Trigger": "Any"}])
    other = step("O", "Training", DependsOn=[{"Step": "A", "Trigger": "Any"}])
    steps = [*DEFINITION["Steps"], final, step("Y", "Training", DependsOn=["Z"]), other]
    records = ExecutionRecords(Folder(tmp_path))
    body = {"format": FORMAT, "started": "2026-11-21T0"}
    open_execution(records, ID, body, lambda: {"Steps": steps})
    for name in "ABZYO":
        state: Any = "Failed" if name == "B" else "Succeeded"
        records.save(attempt_of(ID, name, "Training", state, engine_try=1))
    pipeline = read(records.definition(ID)).pipeline
    assert status(pipeline, records.steps(ID)).status == "CompletedWithFailures"
    retry_execution(records, ID)

    assert set(records.steps(ID)) == {"A", "O"}
    counted = {n: retry_of(records).count(records.attempts(ID, n), 0, 1, again=False) for n in "AZ"}
    assert counted == {"A": (0, 1), "Z": (1, 2)}
    records.save(attempt_of(ID, "B", "Training", "Succeeded", engine_try=2, generation=1))
    records.save(attempt_of(ID, "Z", "Training", "Succeeded", engine_try=2, generation=1))
    assert states(pipeline, records.steps(ID))["Y"] == "Pending"


def test_lost_worker_of_a_retried_step_is_recorded(records: ExecutionRecords) -> None:
    """Its earlier attempt, which failed for another reason, stays as it is."""
    retry_execution(records, ID)
    backend = FakeBackend()
    times: dict[str, Any] = {"started": "2026-11-22T00:00", "ended": "2026-11-22T00:01"}
    ending = Ending(records, ID, lambda attempt: backend)
    ending.mark_failed("B", "Training", "its worker was lost", **times)

    assert records.steps(ID)["B"].reason == "its worker was lost"
    assert len(records.attempts(ID, "B")) == 2
    assert ending.conclude(read(records.definition(ID)).pipeline).status == "Failed"


def test_two_commands_do_not_retry_at_once(
    records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*given: object) -> None:
        raise WriteConflict(str(given))

    monkeypatch.setattr(Folder, "replace", conflict)
    with pytest.raises(UsageError, match="is being retried by another command"):
        retry_execution(records, ID)
