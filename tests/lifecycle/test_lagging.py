"""Services whose descriptions lag behind or that lose requests."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from sagebridge_operators.lifecycle import advance, drive
from sagebridge_operators.lifecycle.ports import Ports
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import StepFailed, StepStopped
from tests.fakes import FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import Find, Make


def test_vanished_job_fails_the_step(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, aws.jobs.clear]
    with pytest.raises(StepFailed, match="has disappeared"):
        make().run()


def test_missing_job_is_looked_for_again(
    make: Make, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "UNSEEN_FOR", timedelta(seconds=30))
    unseen = client_error("DescribeTrainingJob", "ValidationException", "job not found")
    aws.before["describe_training_job"] = [lambda: None, *[raises(unseen)] * 5]
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1


def test_job_seen_again_has_not_vanished(
    make: Make, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptions may lag behind at any time, not only after the create request."""
    monkeypatch.setattr(advance, "UNSEEN_FOR", timedelta(seconds=60))
    aws.plans["Train"] = Plan(("InProgress",) * 5 + ("Completed",))
    missing = client_error("DescribeTrainingJob", "ValidationException", "resource not found")
    late = "2020-01-01T00:00:00+00:00"
    monkeypatch.setattr(Ports, "now", lambda ports: late)
    aws.before["describe_training_job"] = [*[lambda: None] * 3, raises(missing), raises(missing)]
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_training_job")) == 1


def test_vanished_job_is_sent_a_stop(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    missing = client_error("DescribeTrainingJob", "ValidationException", "resource not found")
    aws.before["describe_training_job"] = [*[lambda: None] * 3, raises(missing)]
    with pytest.raises(StepFailed, match="disappeared"):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_lost_stop_request_is_sent_again(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("InProgress", "InProgress", "Stopped"))
    run = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: setattr(run, "killed", True)]

    def forgotten() -> None:
        aws.before["stop_training_job"] = []

    aws.before["stop_training_job"] = [forgotten]
    with pytest.raises(StepStopped):
        run.run()
    assert len(aws.called("stop_training_job")) > 1


def test_kill_during_create_stops_the_job(
    make: Make, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine sends SIGKILL if the worker does not end within seconds."""
    monkeypatch.setattr(drive, "_BUSY", 0.05)
    aws.plans["Train"] = Plan(("InProgress",), ("Stopped",))
    run = make()
    stops: list[int] = []

    def hang() -> None:
        run.killed = True
        for _ in range(200):
            time.sleep(0.02)
            if aws.called("stop_training_job"):
                break
        stops.append(len(aws.called("stop_training_job")))

    aws.after["create_training_job"] = [hang]
    with pytest.raises(StepStopped):
        run.run()
    assert stops == [1]


def test_give_up_during_create_leaves_no_job(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopped",))

    def sweep() -> None:
        records.save(record().with_failure("lost-worker", "swept", state="Stopped"))

    aws.after["create_training_job"] = [sweep]
    with pytest.raises(StepStopped, match="swept"):
        make().run()
    assert [job.stops for job in aws.jobs.values()] == [1]
