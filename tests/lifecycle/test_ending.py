"""Ending an execution whose workers are alive, slow or lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from sagebridge_operators.run_errors import JobsNotStopped
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


def new_attempt(step: str, type_: str = "Processing", **more: Any) -> Attempt:
    return attempt_of(ID, step, type_, **more)


def begin(
    backend: FakeBackend,
    records: ExecutionRecords,
    name: str,
    *states: str,
    stopping: tuple[str, ...] = ("Stopped",),
    **more: Any,
) -> None:
    """Starts a step whose job goes through ``states``."""
    create(backend, name, *states, stopping=stopping)
    records.save(new_attempt(name, job=name, **more))


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
class CountedReads(ExecutionRecords):
    """Records of one step, which ends when it is read for the fourth time."""

    attempt: Attempt
    looks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.save(self.attempt)

    def attempts(
        self, execution: str, step: str | None = None, index: tuple[int, ...] | None = None
    ) -> list[Attempt]:
        self.looks.append(1)
        if len(self.looks) >= 4:
            self.save(self.attempt.with_failure("stopped", "by its worker", state="Stopped"))
        return ExecutionRecords.attempts(self, execution, step, index)


def test_stop_stops_running_jobs(
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


def test_job_is_stopping_until_it_has_stopped(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Slow", "InProgress", stopping=("Stopping",))

    assert ending.stop(patience=0.3) == ["Slow"]

    assert records.steps(ID)["Slow"].state == "Stopping"
    assert stops(backend) == {"Slow": 1}


def test_stop_waits_for_a_step_about_to_create_its_job(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    counted = CountedReads(records.objects, new_attempt("A"))

    with records.attend(new_attempt("A")):
        assert Ending(counted, ID, lambda attempt: backend).stop() == []
    assert len(counted.looks) >= 4
    assert records.steps(ID)["A"].reason == "by its worker"


@pytest.fixture
def in_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that do not know whether a worker is at a step."""
    monkeypatch.setattr(Folder, "attended", Bucket("s3://b", lambda: None).attended)


@pytest.mark.parametrize("type_", [PYTHON, SHELL, "Condition", "Processing"])
def test_stop_ends_steps_of_lost_workers_at_once(
    type_: str, records: ExecutionRecords, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for a reaction of the worker."""
    monkeypatch.setattr(lifecycle, "_WORKER_ANSWERS", 60.0)
    with records.attend(new_attempt("Other")):
        records.save(new_attempt("A", type_))

        assert ending.stop(code=True) == []

    ended = records.steps(ID)["A"]
    assert ended.state == "Stopped"
    assert ended.reason == "a stop was requested after its worker was lost"


@pytest.mark.usefixtures("in_s3")
def test_stop_waits_briefly_for_an_unknown_worker(
    records: ExecutionRecords, ending: Ending
) -> None:
    records.save(new_attempt("A", "Condition"))

    assert ending.stop() == []


@pytest.mark.parametrize("known", [True, False])
def test_stop_finds_an_unrecorded_job(
    known: bool,
    backend: FakeBackend,
    records: ExecutionRecords,
    ending: Ending,
    request: pytest.FixtureRequest,
) -> None:
    """The name of the job was recorded before the create request."""
    if not known:
        request.getfixturevalue("in_s3")
    name = job_name(ID, 1, "A", 0)
    create(backend, name, "InProgress", stopping=("Stopping", "Stopping", "Stopped"))
    records.save(replace(new_attempt("A", generation=1), parts=(Part(name),)))

    assert ending.stop() == []

    job = backend.sagemaker.jobs[name]
    assert job.stops == 1
    assert job.description["ProcessingJobStatus"] == "Stopped"
    found = records.steps(ID)["A"]
    assert found.state == "Stopped"
    assert found.job is not None
    assert found.job.name == name


def test_rejected_stop_does_not_block_other_stops(
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
def test_stop_returns_code_steps_that_do_not_stop(
    type_: str, records: ExecutionRecords, ending: Ending
) -> None:
    records.save(new_attempt("Wait", type_))
    records.save(new_attempt("Gate", "Condition"))

    with records.attend(new_attempt("Wait")), records.attend(new_attempt("Gate")):
        assert ending.stop(patience=0.3, code=True) == ["Wait"]
        assert ending.stop() == []


def test_stop_waits_for_code_steps(
    backend: FakeBackend, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_WORKER_ANSWERS", 0.0)
    counted = CountedReads(records.objects, new_attempt("Wait", PYTHON))

    with records.attend(new_attempt("Wait")):
        assert Ending(counted, ID, lambda attempt: backend).stop(code=True) == []
    assert len(counted.looks) >= 4
    assert records.steps(ID)["Wait"].reason == "by its worker"


def test_settle_records_the_ends_of_jobs(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    begin(backend, records, "Done", "Completed")
    begin(backend, records, "Broken", "Failed")
    backend.sagemaker.jobs["Broken"].description["FailureReason"] = "exit code 1"
    begin(backend, records, "Ongoing", "InProgress")
    records.save(new_attempt("Early"))
    records.save(new_attempt("Old", state="Succeeded"))

    ending.settle("Stopped", "stopped by SIGINT")

    ends = {name: (record.state, record.reason) for name, record in records.steps(ID).items()}
    assert ends == {
        "Done": ("Succeeded", ""),
        "Broken": ("Failed", "Processing job Broken Failed: exit code 1"),
        "Ongoing": ("Stopped", "stopped by SIGINT"),
        "Early": ("Stopped", "stopped by SIGINT"),
        "Old": ("Succeeded", ""),
    }


@pytest.mark.parametrize("workers", [True, False])
def test_abort_leaves_nothing_running(
    workers: bool, backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    """No running job, and no job that a worker creates while it ends."""
    begin(backend, records, "Long", "InProgress")
    late: Callable[[], None] = lambda: begin(backend, records, "Late", "InProgress")  # noqa: E731 - one line per callback

    ending.abort("Stopped", "stopped by SIGINT", end_workers=late, workers=workers)

    assert stops(backend) == {"Long": 1, "Late": 1}
    assert {step.state for step in records.steps(ID).values()} == {"Stopped"}
    end = records.end(ID)
    assert end is not None
    assert (end["status"], end["reason"]) == ("Stopped", "stopped by SIGINT")
    assert end["steps"] == {"Long": "Stopped", "Late": "Stopped"}


def test_abort_writes_the_end_despite_service_errors(
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


def test_recorded_end_is_kept(records: ExecutionRecords, ending: Ending) -> None:
    records.save(new_attempt("No", "Fail", state="Failed", reason="MSE > 1.0"))
    pipeline = Pipeline(steps=(fail("No"),))

    assert ending.conclude(pipeline) == Status("Failed", "MSE > 1.0")
    ending.abort("Stopped", "stopped by SIGINT", workers=False)
    assert ending.conclude(pipeline, "killed") == Status("Failed", "MSE > 1.0")


def test_early_end_of_engine_fails_the_execution(records: ExecutionRecords, ending: Ending) -> None:
    pipeline = Pipeline(steps=(fail("No"), fail("Other")))
    records.save(new_attempt("No", "Fail"))

    found = ending.conclude(pipeline, title="Airflow")

    assert found == Status("Failed", "the run ended in Airflow before its steps did")
    assert (records.end(ID) or {})["reason"] == found.reason


def test_step_without_replacement_worker_fails(records: ExecutionRecords, ending: Ending) -> None:
    times: dict[str, Any] = {
        "started": "2026-11-21T00:00:01+00:00",
        "ended": "2026-11-21T00:00:09+00:00",
    }
    records.save(new_attempt("Begun", job="job"))

    for step in ("Begun", "Never"):
        ending.mark_failed(step, "Processing", "its worker was killed", **times)

    for found in records.steps(ID).values():
        assert (found.state, found.reason) == ("Failed", "its worker was killed")
        assert (found.started, found.ended) == (times["started"], times["ended"])
        assert found.end is not None
        assert found.end.failure is not None
        assert found.end.failure.kind == "lost-worker"


def test_every_rejected_stop_is_reported(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    for name in ("A", "B", "C"):
        begin(backend, records, name, "InProgress")
    denied = client_error("StopProcessingJob", "AccessDeniedException")
    backend.sagemaker.before["stop_processing_job"] = [raises(denied), raises(denied)]

    with pytest.raises(JobsNotStopped, match=r"A: .*AccessDenied.*; B: .*AccessDenied"):
        ending.stop()

    assert records.steps(ID)["C"].state == "Stopped"


def test_step_is_not_stopped_while_its_job_is_unknown(
    backend: FakeBackend, records: ExecutionRecords, ending: Ending
) -> None:
    """Its lost worker may have created the job just before."""
    create(backend, "A", "InProgress")
    records.save(replace(new_attempt("A"), parts=(Part("A"),)))
    throttled = client_error("DescribeProcessingJob", "ThrottlingException")
    backend.sagemaker.before["describe_processing_job"] = [raises(throttled)]

    assert ending.stop() == []

    assert stops(backend) == {"A": 1}
    assert records.steps(ID)["A"].state == "Stopped"


def test_waiting_step_is_stopped_at_once(records: ExecutionRecords, ending: Ending) -> None:
    """Between two tries of a retry policy no worker may be at it, as with records in S3."""
    records.save(replace(new_attempt("A", next_look="2099-01-01T00:00:00+00:00"), phase="waiting"))

    assert ending.stop() == []

    assert records.steps(ID)["A"].state == "Stopped"


def test_stop_waits_out_an_outage(
    ending: Ending, backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "One", "InProgress")
    begin(backend, records, "Two", "InProgress")
    throttled = client_error("StopProcessingJob", "ThrottlingException")
    backend.sagemaker.before["stop_processing_job"] = [raises(throttled), raises(throttled)]

    assert ending.stop() == []

    assert stops(backend) == {"One": 1, "Two": 1}
    assert {step.state for step in records.steps(ID).values()} == {"Stopped"}
