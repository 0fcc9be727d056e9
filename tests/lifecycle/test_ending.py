"""Stopping an execution whose workers answer, are slow, or are gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from sagebridge.model.code_steps import PYTHON, SHELL
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle import ending as lifecycle
from sagebridge_operators.lifecycle.attempt import Attempt, Part
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import job_name
from sagebridge_operators.lifecycle.objects import Bucket, Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import Status
from sagebridge_operators.run_errors import FailureKind
from tests.attempts import attempt_of
from tests.fakes import FakeBackend, Plan, client_error, raises
from tests.shapes import fail

ID = "0123456789ab"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}


@pytest.fixture
def ending(backend: FakeBackend, records: ExecutionRecords) -> Ending:
    return Ending(records, ID, lambda attempt: backend)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_PAUSE", 0.01)
    monkeypatch.setattr(lifecycle, "_WORKER_ANSWERS", 0.1)


def one(step: str, type_: str = "Processing", **more: Any) -> Attempt:
    return attempt_of(ID, step, type_, **more)


def begin(
    backend: FakeBackend,
    records: ExecutionRecords,
    name: str,
    *states: str,
    stopping: tuple[str, ...] = ("Stopped",),
    **more: Any,
) -> None:
    """A step whose job goes through ``states``."""
    create(backend, name, *states, stopping=stopping)
    records.save(one(name, job=name, **more))


def create(
    backend: FakeBackend, name: str, *states: str, stopping: tuple[str, ...] = ("Stopped",)
) -> None:
    backend.sagemaker.plans[name] = Plan(states, stopping=stopping)
    backend.sagemaker.create_processing_job(
        ProcessingJobName=name,
        ProcessingResources={"ClusterConfig": CLUSTER},
        AppSpecification={"ImageUri": "image"},
        RoleArn="arn:aws:iam::111122223333:role/r",
    )


def stops(backend: FakeBackend) -> dict[str, int]:
    return {name: job.stops for name, job in backend.sagemaker.jobs.items()}


@dataclass(frozen=True)
class Looked(ExecutionRecords):
    """Has one step, which runs until it is looked at for the fourth time."""

    attempt: Attempt
    looks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.save(self.attempt)

    def attempts(
        self, execution: str, step: str | None = None, index: tuple[int, ...] | None = None
    ) -> list[Attempt]:
        self.looks.append(1)
        if len(self.looks) >= 4:
            self.save(self.attempt.failing("stopped", "by its worker", state="Stopped"))
        return ExecutionRecords.attempts(self, execution, step, index)


def test_jobs_that_run_are_stopped(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Long", "InProgress")
    begin(backend, records, "Done", "InProgress", state="Succeeded")

    assert ending.stop() == []

    assert records.stop_requested(ID)
    assert stops(backend) == {"Long": 1, "Done": 0}
    assert {name: step.state for name, step in records.steps(ID).items()} == {
        "Long": "Stopped",
        "Done": "Succeeded",
    }


def test_a_job_is_stopping_until_it_has_stopped(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Slow", "InProgress", stopping=("Stopping",))

    assert ending.stop(patience=0.3) == ["Slow"]

    assert records.steps(ID)["Slow"].state == "Stopping"
    assert stops(backend) == {"Slow": 1}


def test_a_step_that_is_about_to_make_its_job_is_waited_for(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    looked = Looked(records.objects, one("A"))

    with records.attend(one("A")):
        assert Ending(looked, ID, lambda attempt: backend).stop() == []
    assert len(looked.looks) >= 4
    assert records.steps(ID)["A"].reason == "by its worker"


@pytest.fixture
def in_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that do not show whether a worker is at them."""
    monkeypatch.setattr(Folder, "attended", Bucket("s3://b", lambda: None).attended)


@pytest.mark.parametrize("type_", [PYTHON, SHELL, "Condition", "Processing"])
def test_a_step_whose_worker_is_lost_is_stopped_at_once(
    type_: str, records: ExecutionRecords, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting until a worker would have answered."""
    monkeypatch.setattr(lifecycle, "_WORKER_ANSWERS", 60.0)
    with records.attend(one("Other")):
        records.save(one("A", type_))

        assert ending.stop(code=True) == []

    ended = records.steps(ID)["A"]
    assert ended.state == "Stopped"
    assert ended.reason == "a stop was requested after its worker was lost"


@pytest.mark.usefixtures("in_s3")
def test_a_worker_that_may_be_gone_is_not_waited_for_long(
    records: ExecutionRecords, ending: Ending
) -> None:
    records.save(one("A", "Condition"))

    assert ending.stop() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_job_that_its_worker_could_not_record_is_stopped(
    known: bool,
    backend: FakeBackend,
    records: ExecutionRecords,
    ending: Ending,
    request: pytest.FixtureRequest,
) -> None:
    """Its name was recorded before the create request."""
    if not known:
        request.getfixturevalue("in_s3")
    name = job_name(ID, 1, "A", 0)
    create(backend, name, "InProgress", stopping=("Stopping", "Stopping", "Stopped"))
    records.save(replace(one("A", generation=1), parts=(Part(name),)))

    assert ending.stop() == []

    job = backend.sagemaker.jobs[name]
    assert job.stops == 1
    assert job.description["ProcessingJobStatus"] == "Stopped"
    found = records.steps(ID)["A"]
    assert found.state == "Stopped"
    assert found.job is not None
    assert found.job.name == name


def test_a_job_that_may_not_be_stopped_keeps_no_other_from_it(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    for name in ("A", "B", "C"):
        begin(backend, records, name, "InProgress")
    denied = client_error("StopProcessingJob", "AccessDeniedException")
    backend.sagemaker.before["stop_processing_job"] = [raises(denied)]

    with pytest.raises(type(denied)):
        ending.stop()

    assert list(stops(backend).values()) == [0, 1, 1]


@pytest.mark.parametrize("type_", [PYTHON, SHELL])
def test_code_that_does_not_stop_in_time_is_named_where_its_worker_goes_on(
    type_: str, records: ExecutionRecords, ending: Ending
) -> None:
    records.save(one("Wait", type_))
    records.save(one("Gate", "Condition"))

    with records.attend(one("Wait")), records.attend(one("Gate")):
        assert ending.stop(patience=0.3, code=True) == ["Wait"]
        assert ending.stop() == []


def test_code_that_stops_late_is_waited_for(
    backend: FakeBackend, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_WORKER_ANSWERS", 0.0)
    looked = Looked(records.objects, one("Wait", PYTHON))

    with records.attend(one("Wait")):
        assert Ending(looked, ID, lambda attempt: backend).stop(code=True) == []
    assert len(looked.looks) >= 4
    assert records.steps(ID)["Wait"].reason == "by its worker"


def test_records_are_settled_as_their_jobs_ended(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Done", "Completed")
    begin(backend, records, "Broken", "Failed")
    backend.sagemaker.jobs["Broken"].description["FailureReason"] = "exit code 1"
    begin(backend, records, "Ongoing", "InProgress")
    records.save(one("Early"))
    records.save(one("Old", state="Succeeded"))

    ending.settle("Stopped", "stopped by SIGINT")

    told = {name: (record.state, record.reason) for name, record in records.steps(ID).items()}
    assert told == {
        "Done": ("Succeeded", ""),
        "Broken": ("Failed", "Processing job Broken Failed: exit code 1"),
        "Ongoing": ("Stopped", "stopped by SIGINT"),
        "Early": ("Stopped", "stopped by SIGINT"),
        "Old": ("Succeeded", ""),
    }


@pytest.mark.parametrize("workers", [True, False])
def test_an_aborted_execution_leaves_nothing_running(
    workers: bool, backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    """Neither a job that ran nor one that a worker makes while it is ended."""
    begin(backend, records, "Long", "InProgress")
    late: Callable[[], None] = lambda: begin(backend, records, "Late", "InProgress")  # noqa: E731

    ending.abort("Stopped", "stopped by SIGINT", end_workers=late, workers=workers)

    assert stops(backend) == {"Long": 1, "Late": 1}
    assert {step.state for step in records.steps(ID).values()} == {"Stopped"}
    end = records.end(ID)
    assert end is not None
    assert (end["status"], end["reason"]) == ("Stopped", "stopped by SIGINT")
    assert end["steps"] == {"Long": "Stopped", "Late": "Stopped"}


def test_an_aborted_execution_has_its_end_though_the_service_refuses(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Long", "InProgress")
    denied = client_error("StopProcessingJob", "AccessDeniedException")
    backend.sagemaker.before["stop_processing_job"] = [raises(denied)] * 9
    ended: list[int] = []

    with pytest.raises(type(denied)):
        ending.abort("Stopped", "SIGINT", end_workers=lambda: ended.append(1), workers=True)

    assert ended == [1]
    assert (records.end(ID) or {})["status"] == "Stopped"


def test_the_end_that_an_engine_wrote_stays(records: ExecutionRecords, ending: Ending) -> None:
    records.save(one("No", "Fail", state="Failed", reason="MSE > 1.0"))
    pipeline = Pipeline(steps=(fail("No"),))

    assert ending.conclude(pipeline) == Status("Failed", "MSE > 1.0")
    ending.abort("Stopped", "stopped by SIGINT", workers=False)
    assert ending.conclude(pipeline, "killed") == Status("Failed", "MSE > 1.0")


def test_an_engine_that_ends_before_its_steps_fails_the_execution(
    records: ExecutionRecords, ending: Ending
) -> None:
    pipeline = Pipeline(steps=(fail("No"), fail("Other")))
    records.save(one("No", "Fail"))

    found = ending.conclude(pipeline, title="Airflow")

    assert found == Status("Failed", "the run was ended in Airflow before its steps were")
    assert (records.end(ID) or {})["reason"] == found.reason


def test_a_step_whose_workers_were_lost_for_good_has_failed(
    records: ExecutionRecords, ending: Ending
) -> None:
    times = {"started": "2026-11-21T00:00:01+00:00", "ended": "2026-11-21T00:00:09+00:00"}
    records.save(one("Begun", job="job"))

    for step in ("Begun", "Never"):
        ending.mark_failed(step, "Processing", "its worker was killed", **times)

    for found in records.steps(ID).values():
        assert (found.state, found.reason) == ("Failed", "its worker was killed")
        assert (found.started, found.ended) == (times["started"], times["ended"])
        assert found.end is not None
        assert found.end.failure is not None
        assert found.end.failure.kind == "lost-worker"


def aged(records: ExecutionRecords, attempt: Attempt, minutes: float) -> None:
    """The worker of an attempt was seen alive that long ago, and is gone."""
    with records.attend(attempt):
        pass
    assert isinstance(records.objects, Folder)
    (lock,) = (records.objects.path / ID / "steps" / attempt.step).glob("*.lock")
    then = time.time() - 60 * minutes
    os.utime(lock, (then, then))


def test_jobs_of_lost_runs_are_swept(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Lost", "InProgress")
    begin(backend, records, "Recent", "InProgress")
    begin(backend, records, "Attended", "InProgress")
    for name, minutes in (("Lost", 40), ("Recent", 10), ("Attended", 40)):
        aged(records, one(name), minutes)

    with records.attend(one("Attended")):
        lost = ending.lost(timedelta(minutes=30))
        assert [attempt.step for attempt in lost] == ["Lost"]
        assert ending.stop_attempts(lost) == []

    assert stops(backend) == {"Lost": 1, "Recent": 0, "Attended": 0}
    assert records.steps(ID)["Lost"].state == "Stopped"
    assert records.steps(ID)["Recent"].running
    assert not records.stop_requested(ID)


def test_what_runs_after_the_end_of_its_execution_is_swept(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Left", "InProgress")
    ending.conclude(Pipeline(steps=()), "the engine died")

    lost = ending.lost(timedelta(days=1))
    assert ending.stop_attempts(lost) == []
    assert stops(backend) == {"Left": 1}


def test_a_job_beyond_its_time_is_swept_wherever_its_records_are(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Late", "InProgress", deadline="2026-11-21T00:00:00+00:00")
    with records.attend(one("Late")):
        assert ending.lost(timedelta(days=1)) == []
    lost = ending.lost(timedelta(days=1))
    assert ending.stop_attempts(lost) == []
    assert stops(backend) == {"Late": 1}


@pytest.mark.parametrize("kind", ["service", "time-limit", "lost-worker"])
def test_a_job_that_was_given_up_and_still_runs_is_swept(
    kind: FailureKind, ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Left", "InProgress")
    (attempt,) = records.attempts(ID, "Left")
    ended = records.save(attempt.failing(kind, "given up"))
    begin(backend, records, "Gone", "Completed")
    (attempt,) = records.attempts(ID, "Gone")
    records.save(attempt.failing(kind, "given up"))

    assert ending.stop_attempts(ending.lost(timedelta(days=1))) == []

    assert stops(backend) == {"Left": 1, "Gone": 0}
    assert records.attempts(ID, "Left") == [ended]


def test_a_service_that_does_not_answer_delays_a_stop_only(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "One", "InProgress")
    begin(backend, records, "Two", "InProgress")
    throttled = client_error("StopProcessingJob", "ThrottlingException")
    backend.sagemaker.before["stop_processing_job"] = [raises(throttled), raises(throttled)]

    assert ending.stop() == []

    assert stops(backend) == {"One": 1, "Two": 1}
    assert {step.state for step in records.steps(ID).values()} == {"Stopped"}
