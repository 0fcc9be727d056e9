"""Stopping an execution whose workers answer, are slow, or are gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.code_steps import PYTHON, SHELL
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.execution import job_name
from sagebridge_operators.lifecycle.records import Bucket, ExecutionRecords, Folder
from tests.fakes import FakeBackend, Plan, client_error, raises

ID = "0123456789ab"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def records(tmp_path: Path) -> ExecutionRecords:
    return ExecutionRecords(Folder(tmp_path))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_PAUSE", 0.01)
    monkeypatch.setattr(stopping, "_WORKER_ANSWERS", 0.1)


def begin(
    backend: FakeBackend, records: ExecutionRecords, name: str, *states: str, **record: Any
) -> None:
    """A step whose job goes through ``states``."""
    backend.sagemaker.plans[name] = Plan(states, stopping=record.pop("stopping", ("Stopped",)))
    backend.sagemaker.create_processing_job(
        ProcessingJobName=name,
        ProcessingResources={"ClusterConfig": CLUSTER},
        AppSpecification={"ImageUri": "image"},
        RoleArn="arn:aws:iam::111122223333:role/r",
    )
    job = {"name": name, "arn": "arn:…"}
    body = {"name": name, "type": "Processing", "status": "Executing", "started": "2026-11-21"}
    records.step(ID, name, {**body, "job": job, **record})


@dataclass(frozen=True)
class Looked(ExecutionRecords):
    """Has one step, which runs until it is looked at for the fourth time."""

    body: dict[str, Any]
    looks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step(ID, self.body["name"], self.body)

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        self.looks.append(1)
        if len(self.looks) == 4:
            self.step(ID, self.body["name"], {**self.body, "status": "Stopped"})
        return ExecutionRecords.steps(self, execution)


def test_jobs_that_run_are_stopped(backend: FakeBackend, records: ExecutionRecords) -> None:
    begin(backend, records, "Long", "InProgress")
    begin(backend, records, "Done", "InProgress", status="Succeeded")

    assert stopping.stop(records, backend, ID) == []

    assert records.stop_requested(ID)
    assert {name: job.stops for name, job in backend.sagemaker.jobs.items()} == {
        "Long": 1,
        "Done": 0,
    }


def test_what_does_not_stop_in_time_is_named(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Slow", "InProgress", stopping=("Stopping",))

    assert stopping.stop(records, backend, ID, patience=0.3) == ["Slow"]


def test_a_step_that_is_about_to_make_its_job_is_waited_for(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    body = {"name": "A", "type": "Processing", "status": "Executing"}
    looked = Looked(records.objects, body)

    with records.attend(ID, "A"):
        assert stopping.stop(looked, backend, ID) == []
    assert len(looked.looks) == 4


@pytest.fixture
def in_s3(records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of which nobody can know whether a worker is at them."""
    monkeypatch.setattr(Folder, "attended", Bucket("s3://b", lambda: None).attended)


@pytest.mark.parametrize("type_", [PYTHON, SHELL, "Condition", "Processing"])
def test_a_step_whose_worker_is_lost_is_stopped_at_once(
    type_: str,
    backend: FakeBackend,
    records: ExecutionRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only once nobody waits any more."""
    monkeypatch.setattr(stopping, "_WORKER_ANSWERS", 60.0)
    with records.attend(ID, "Other"):
        records.step(ID, "A", {"name": "A", "type": type_, "status": "Executing"})

        assert stopping.stop(records, backend, ID, code=True) == []

    ended = records.steps(ID)["A"]
    assert ended["status"] == "Stopped"
    assert ended["reason"] == "a stop was asked for after its worker was lost"


@pytest.mark.usefixtures("in_s3")
def test_a_worker_that_may_be_gone_is_not_waited_for_long(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    records.step(ID, "A", {"name": "A", "type": "Condition", "status": "Executing"})

    assert stopping.stop(records, backend, ID) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_job_that_its_worker_could_not_record_is_stopped(
    known: bool, backend: FakeBackend, records: ExecutionRecords, request: pytest.FixtureRequest
) -> None:
    if not known:
        request.getfixturevalue("in_s3")
    name = job_name(ID, 1, "A", 0)
    begin(backend, records, name, "InProgress", stopping=("Stopping", "Stopping", "Stopped"))
    (records.objects.path / ID / "steps" / f"{name}.json").unlink()  # type: ignore[attr-defined]
    body = {"name": "A", "type": "Processing", "status": "Executing", "generation": 1}
    records.step(ID, "A", body)

    assert stopping.stop(records, backend, ID) == []

    assert backend.sagemaker.jobs[name].stops == 1
    assert backend.sagemaker.jobs[name].description["ProcessingJobStatus"] == "Stopped"
    if known:
        assert records.steps(ID)["A"]["status"] == "Stopped"
        assert records.steps(ID)["A"]["job"]["name"] == name


def test_a_job_that_may_not_be_stopped_keeps_no_other_from_it(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    for name in ("A", "B", "C"):
        begin(backend, records, name, "InProgress")
    denied = client_error("StopProcessingJob", "AccessDeniedException")
    backend.sagemaker.before["stop_processing_job"] = [raises(denied)]

    with pytest.raises(type(denied)):
        stopping.stop(records, backend, ID)

    assert [job.stops for job in backend.sagemaker.jobs.values()] == [0, 1, 1]


@pytest.mark.parametrize("type_", [PYTHON, SHELL])
def test_code_that_does_not_stop_in_time_is_named_where_its_worker_goes_on(
    type_: str, backend: FakeBackend, records: ExecutionRecords
) -> None:
    records.step(ID, "Wait", {"name": "Wait", "type": type_, "status": "Executing"})
    records.step(ID, "Gate", {"name": "Gate", "type": "Condition", "status": "Executing"})

    with records.attend(ID, "Wait"), records.attend(ID, "Gate"):
        assert stopping.stop(records, backend, ID, patience=0.3, code=True) == ["Wait"]
        assert stopping.stop(records, backend, ID) == []


def test_code_that_stops_late_is_waited_for(
    backend: FakeBackend, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_WORKER_ANSWERS", 0.0)
    body = {"name": "Wait", "type": PYTHON, "status": "Executing"}
    looked = Looked(records.objects, body)

    with records.attend(ID, "Wait"):
        assert stopping.stop(looked, backend, ID, code=True) == []
    assert len(looked.looks) == 4


def test_records_are_settled_as_their_jobs_ended(
    backend: FakeBackend, records: ExecutionRecords
) -> None:
    begin(backend, records, "Done", "Completed")
    begin(backend, records, "Broken", "Failed")
    backend.sagemaker.jobs["Broken"].description["FailureReason"] = "exit code 1"
    begin(backend, records, "Ongoing", "InProgress")
    records.step(ID, "Early", {"name": "Early", "type": "Processing", "status": "Executing"})
    records.step(ID, "Old", {"name": "Old", "type": "Processing", "status": "Succeeded"})

    stopping.settle(records, backend, ID, "Stopped", "stopped by SIGINT")

    told = {
        name: (record["status"], record.get("reason", ""))
        for name, record in records.steps(ID).items()
    }
    assert told == {
        "Done": ("Succeeded", ""),
        "Broken": ("Failed", "exit code 1"),
        "Ongoing": ("Stopped", "stopped by SIGINT"),
        "Early": ("Stopped", "stopped by SIGINT"),
        "Old": ("Succeeded", ""),
    }
