"""Records that are unreachable for a while, or not shared with other workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from sagebridge_operators.lifecycle import drive
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.objects import Folder, StoredObject
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import RecordsUnreachable
from tests.fakes import FakeSageMaker, Plan, raises
from tests.lifecycle.conftest import EXECUTION, STOPPABLE, Make

LOST = NoCredentialsError()
"""An error that ends a worker without a result for the step."""


@dataclass(frozen=True)
class Outage(Folder):
    """A folder that is unreachable for ``length`` calls, from call ``start`` on."""

    start: int = 0
    length: int = 0
    calls: list[str] = field(default_factory=list)

    def _reach(self, key: str) -> None:
        self.calls.append(key)
        if self.start < len(self.calls) <= self.start + self.length:
            raise RecordsUnreachable(key, str(self.path), "Stale file handle")

    def read(self, key: str) -> StoredObject | None:
        self._reach(key)
        return Folder.read(self, key)

    def keys(self, prefix: str) -> Iterator[str]:
        self._reach(prefix)
        return Folder.keys(self, prefix)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        self._reach(key)
        Folder.put(self, key, body)

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        self._reach(key)
        Folder.create(self, key, body)

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        self._reach(key)
        Folder.replace(self, key, body, version)


def with_records(run: StepDriver, records: ExecutionRecords) -> StepDriver:
    """Makes a driver of the same step with other records."""
    run.task = replace(run.task, records=records)
    return run


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 60.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("type_", ["Training", "Model"])
def test_step_waits_out_records_outage_at_each_call(
    type_: str, make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    """One outage of 20 calls, before each of the step's calls to its records."""
    whole = Outage(tmp_path / "whole")
    assert with_records(make(type_), ExecutionRecords(whole)).run()["job"]
    assert len(whole.calls) > 5
    for start in range(len(whole.calls)):
        aws.jobs.clear()
        aws.calls.clear()
        records = ExecutionRecords(Outage(tmp_path / str(start), start, 20))
        outputs = with_records(make(type_), records).run()
        assert [outputs["job"]["name"]] == list(aws.jobs), f"outage at call {start}"
        (attempt,) = records.attempts(EXECUTION.id)
        assert (attempt.state, attempt.number) == ("Succeeded", 0)
        assert not aws.called("stop_")


@pytest.mark.usefixtures("patient")
def test_next_worker_waits_for_unreadable_records(
    make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    """Unreadable records are not absent records: the later generation is kept."""
    folder = tmp_path / "records"
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        with_records(make(generation=1), ExecutionRecords(Folder(folder))).run()
    for job in aws.jobs.values():
        job.coming = ["Completed"]
    records = ExecutionRecords(Outage(folder, 0, 20))
    assert with_records(make(generation=1), records).run()["status"] == "Completed"
    assert len(aws.called("create_training_job")) == 1
    assert not aws.called("stop_")


def test_long_records_outage_raises_without_result(
    make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    """Without a job the engine retries the step; with a job the step waits longer."""
    whole = Outage(tmp_path / "whole")
    before_the_job: list[int] = []
    aws.before["create_training_job"] = [lambda: before_the_job.append(len(whole.calls))]
    with_records(make(), ExecutionRecords(whole)).run()
    (calls,) = before_the_job
    assert calls > 3
    for start in range(calls):
        aws.jobs.clear()
        aws.calls.clear()
        folder = tmp_path / str(start)
        with pytest.raises(RecordsUnreachable):
            with_records(make(), ExecutionRecords(Outage(folder, start, 10**6))).run()
        assert not aws.jobs, f"unreachable from call {start} on"
        again = with_records(make(), ExecutionRecords(Folder(folder)))
        assert again.run()["status"] == "Completed"
        assert len(aws.called("create_training_job")) == 1


@pytest.mark.parametrize(
    ("type_", "looks"),
    [("Model", 1), *((name, looks) for name in sorted(STOPPABLE) for looks in (1, 2))],
)
def test_worker_with_empty_records_adopts_the_job(
    type_: str, looks: int, make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    """As on a machine that does not share the records: the job's name is the same."""
    run = with_records(make(type_), ExecutionRecords(Folder(tmp_path / "one")))
    describe = run._ports().job_type.describe
    aws.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    aws.before[describe] = [*[lambda: None] * looks, raises(LOST), raises(LOST)]
    with pytest.raises(NoCredentialsError):
        run.run()
    assert len(aws.jobs) == 1
    aws.before.clear()
    records = ExecutionRecords(Folder(tmp_path / "two"))
    outputs = with_records(make(type_), records).run()
    assert [outputs["job"]["name"]] == list(aws.jobs)
    assert not aws.called("stop_")
    (attempt,) = records.attempts(EXECUTION.id)
    assert (attempt.state, attempt.number) == ("Succeeded", 0)


def test_worker_with_empty_records_sends_same_token(
    make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    """A model version has no name; the service recognizes it by its token."""
    for folder in ("one", "two"):
        with_records(make("RegisterModel"), ExecutionRecords(Folder(tmp_path / folder))).run()
    made = [one for one in aws.called("create_model_package") if "ClientToken" in one]
    assert len({one["ClientToken"] for one in made}) == 1


def test_worker_with_empty_records_replaces_a_stopped_job(
    make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        with_records(make(), ExecutionRecords(Folder(tmp_path / "one"))).run()
    (stopped,) = aws.jobs.values()
    stopped.coming = ["Stopped"]
    aws.plans["Train"] = Plan()
    for folder in ("two", "three"):
        records = ExecutionRecords(Folder(tmp_path / folder))
        assert with_records(make(), records).run()["status"] == "Completed"
        assert records.steps(EXECUTION.id)["Train"].number == 1
    assert len(aws.jobs) == 2


def test_concurrent_workers_create_one_job(make: Make, aws: FakeSageMaker, tmp_path: Path) -> None:
    """The name is in use for the second worker, which adopts the job of the first."""
    first = with_records(make(), ExecutionRecords(Folder(tmp_path / "one")))
    second = with_records(make(), ExecutionRecords(Folder(tmp_path / "two")))
    outputs: list[Any] = []
    aws.before["create_training_job"] = [lambda: outputs.append(second.run())]
    outputs.append(first.run())
    assert outputs[0]["job"] == outputs[1]["job"]
    assert len(aws.jobs) == 1
