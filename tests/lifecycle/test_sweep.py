"""Sweeps: which jobs are lost, and what stops them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagebridge.model.code_steps import PYTHON
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle import ending as lifecycle
from sagebridge_operators.lifecycle import watch
from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, Part
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Bucket, Folder
from sagebridge_operators.lifecycle.opening import open_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.sweep import Sweep, Swept
from sagebridge_operators.run_errors import FailureKind
from tests.fakes import FakeBackend, Plan, client_error, raises
from tests.lifecycle.conftest import EXECUTION, Make
from tests.lifecycle.test_ending import ID, begin, create, new_attempt, stops

FOR = timedelta(minutes=30)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_PAUSE", 0.01)


@pytest.fixture
def ending(backend: FakeBackend, records: ExecutionRecords) -> Ending:
    return Ending(records, ID, lambda attempt: backend)


@pytest.fixture(autouse=True)
def opened(records: ExecutionRecords) -> None:
    started = datetime.now(UTC).isoformat()
    open_execution(records, ID, {"format": FORMAT, "id": ID, "started": started}, dict)


@pytest.fixture
def in_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that do not know whether a worker is at a step."""
    monkeypatch.setattr(Folder, "attended", Bucket("s3://b", lambda: None).attended)


def swept(ending: Ending, lost_for: timedelta = FOR, **more: Any) -> list[Swept]:
    sweep = Sweep(
        ending.records, lambda body, one: ending.backend_of(one), lost_for=lost_for, **more
    )
    return list(sweep.run())


def sweep(ending: Ending, lost_for: timedelta = FOR, **more: Any) -> list[str]:
    return [one.step for one in swept(ending, lost_for, **more)]


def minutes_from_now(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def lose_worker(records: ExecutionRecords, attempt: Attempt, minutes: float) -> None:
    """Makes the worker of an attempt lost ``minutes`` ago."""
    with records.attend(attempt):
        pass
    assert isinstance(records.objects, Folder)
    (lock,) = (records.objects.path / ID / "steps" / attempt.step).glob("*.lock")
    then = time.time() - 60 * minutes
    os.utime(lock, (then, then))


def test_sweep_stops_jobs_of_lost_runs(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Lost", "InProgress")
    begin(backend, records, "Recent", "InProgress")
    begin(backend, records, "Attended", "InProgress")
    for name, minutes in (("Lost", 40), ("Recent", 10), ("Attended", 40)):
        lose_worker(records, new_attempt(name), minutes)

    with records.attend(new_attempt("Attended")):
        assert sweep(ending, timedelta(minutes=30)) == ["Lost"]

    assert stops(backend) == {"Lost": 1, "Recent": 0, "Attended": 0}
    assert records.steps(ID)["Lost"].state == "Stopped"
    assert records.steps(ID)["Recent"].running
    assert not records.stop_requested(ID)


def test_sweep_stops_jobs_of_ended_executions(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Left", "InProgress")
    ending.conclude(Pipeline(steps=()), "the engine died")

    assert sweep(ending) == ["Left"]
    assert stops(backend) == {"Left": 1}


def test_sweep_stops_jobs_past_their_deadline(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Late", "InProgress", deadline="2026-11-21T00:00:00+00:00")
    with records.attend(new_attempt("Late")):
        assert sweep(ending) == []
    assert sweep(ending) == ["Late"]
    assert stops(backend) == {"Late": 1}


@pytest.mark.parametrize("kind", ["service", "time-limit", "lost-worker"])
def test_sweep_stops_given_up_jobs(
    kind: FailureKind, ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Left", "InProgress")
    (attempt,) = records.attempts(ID, "Left")
    ended = records.save(attempt.with_failure(kind, "given up"))
    begin(backend, records, "Gone", "Completed")
    (attempt,) = records.attempts(ID, "Gone")
    records.save(attempt.with_failure(kind, "given up"))

    assert sweep(ending) == ["Left"]

    assert stops(backend) == {"Left": 1, "Gone": 0}
    assert records.attempts(ID, "Left") == [ended]


@pytest.mark.usefixtures("in_s3")
def test_next_look_decides_without_locks(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    """Also after the maximum run time: a job may wait in AWS's queue for longer."""
    past = "2026-11-21T00:00:00+00:00"
    begin(backend, records, "Lost", "InProgress", next_look=minutes_from_now(-40))
    begin(backend, records, "Late", "InProgress", next_look=minutes_from_now(-20), deadline=past)
    begin(backend, records, "Watched", "InProgress", next_look=minutes_from_now(10), deadline=past)
    begin(backend, records, "New", "InProgress", started=minutes_from_now(-10))
    create(backend, "Created", "InProgress")  # but its worker was lost before it recorded that
    planned = new_attempt("Created", started=minutes_from_now(-40))
    records.save(replace(planned, parts=(Part("Created"),)))
    records.save(new_attempt("Code", PYTHON, started=minutes_from_now(-40)))

    rows = swept(ending)

    assert [(row.step, row.job, row.state) for row in rows] == [
        ("Created", "Created", "Stopped"),
        ("Lost", "Lost", "Stopped"),
    ]
    assert all("no worker has looked at it since" in row.why for row in rows)
    assert stops(backend) == {"Lost": 1, "Late": 0, "Watched": 0, "New": 0, "Created": 1}


def test_deferred_and_waiting_steps_are_not_lost(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    """No worker holds their lock."""
    begin(backend, records, "Deferred", "InProgress", next_look=minutes_from_now(300))
    waiting = replace(
        new_attempt("Waiting", next_look=minutes_from_now(5)), phase="waiting", number=1
    )
    records.save(waiting)
    for attempt in records.attempts(ID):
        lose_worker(records, attempt, 400)

    assert sweep(ending) == []
    assert sweep(ending, watched=lambda body, attempt: False) == ["Deferred", "Waiting"]
    assert {one.state for one in records.steps(ID).values()} == {"Stopped"}


def test_engine_knows_better_than_the_records(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    for name in ("Ended", "Live", "Unknown"):
        begin(backend, records, name, "InProgress", next_look=minutes_from_now(-400))
    known = {"Ended": False, "Live": True}

    rows = swept(ending, watched=lambda body, attempt: known.get(attempt.step))

    assert {row.step: row.why.partition(" since")[0] for row in rows} == {
        "Ended": "its task or run has ended",
        "Unknown": "no worker has looked at it",
    }
    with records.attend(new_attempt("Live")):
        assert sweep(ending, watched=lambda body, attempt: False) == []


def test_dry_run_stops_nothing(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Left", "InProgress")
    ending.conclude(Pipeline(steps=()), "the engine died")

    (row,) = swept(ending, dry_run=True)

    assert (row.step, row.job, row.state, row.why) == (
        "Left",
        "Left",
        "Found",
        "its execution has ended",
    )
    assert stops(backend) == {"Left": 0}
    assert records.steps(ID)["Left"].running


def test_old_executions_are_not_read(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    body = {"format": FORMAT, "id": "old", "started": "2026-01-01T00:00:00+00:00"}
    open_execution(records, "old", body, dict)
    records.save(replace(new_attempt("Old", job="Old"), execution="old"))

    assert sweep(ending, within=timedelta(days=10), watched=lambda body, attempt: False) == []


def test_one_rejected_job_does_not_keep_the_others(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    for name in ("A", "B"):
        begin(backend, records, name, "InProgress")
    denied = client_error("DescribeProcessingJob", "AccessDeniedException")
    backend.sagemaker.before["stop_processing_job"] = [raises(denied)]

    rows = swept(ending, watched=lambda body, attempt: False)

    assert {row.step: (row.state, row.left) for row in rows} == {
        "A": ("Unknown", True),
        "B": ("Stopped", False),
    }
    assert "AccessDenied" in rows[0].why


@pytest.mark.usefixtures("in_s3")
def test_worker_without_locks_records_when_it_looks_again(
    make: Make, backend: FakeBackend, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write every 15 minutes, and none more for a shorter job."""
    writes: list[Attempt] = []
    save = ExecutionRecords.save

    def count(self: ExecutionRecords, attempt: Attempt) -> Attempt:
        writes.append(attempt)
        return save(self, attempt)

    monkeypatch.setattr(ExecutionRecords, "save", count)
    make().run()
    assert [one.phase for one in writes] == ["planned", "created", "ended"]
    assert all(one.next_look for one in writes[1:])

    writes.clear()
    monkeypatch.setattr(watch, "BEAT", timedelta(seconds=-1))  # it is always time to write again
    backend.sagemaker.plans["Other"] = Plan(("InProgress",) * 4 + ("Completed",))
    make(name="Other").run()
    assert len(writes) > 4


def test_deferred_step_looks_again_at_its_deadline(make: Make, records: ExecutionRecords) -> None:
    driver = make(name="Train")
    driver.run(defer=True)

    attempt = records.steps(EXECUTION.id)["Train"]
    assert attempt.phase == "created"
    assert attempt.next_look == attempt.deadline
