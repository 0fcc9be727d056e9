"""Steps whose worker leaves the job, and the workers that go on when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from sagebridge_operators.lifecycle.attempt import Part
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.watch import Watch
from sagebridge_operators.run_errors import StepFailed, StepStopped
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import EXECUTION, STOPPABLE, Find, Make


def left(make: Make, type_: str = "Training", **more: Any) -> Watch:
    """Runs a step until its worker leaves the job."""
    found = make(type_, **more).run(defer=True)
    assert isinstance(found, Watch)
    return found


@pytest.mark.parametrize("type_", sorted(STOPPABLE))
def test_worker_leaves_a_running_job_and_another_gives_its_outputs(
    type_: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    watch = left(make, type_)
    (name,) = aws.jobs
    assert (watch.execution, watch.type) == (EXECUTION.id, type_)
    assert Part(watch.job).shown == name
    assert watch.deadline == record().deadline
    assert record().state == "Executing"
    outputs = make(type_, resumes=True).run(defer=True)
    assert isinstance(outputs, Mapping)
    assert outputs["job"]["name"] == name
    assert len(aws.called(JOB_TYPES[type_].create)) == 1
    assert record().outputs == outputs


def test_resource_that_ends_at_create_is_not_left(make: Make) -> None:
    outputs = make("Model").run(defer=True)
    assert isinstance(outputs, Mapping)
    assert outputs["status"] == "Created"


def test_job_that_still_runs_is_left_again(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    assert left(make) == left(make, resumes=True)
    assert len(aws.called("create_training_job")) == 1


def test_job_stopped_elsewhere_while_left_is_not_started_again(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    left(make)
    next(iter(aws.jobs.values())).coming = ["Stopped"]
    with pytest.raises(StepStopped):
        make(resumes=True).run(defer=True)
    assert record().state == "Stopped"
    assert len(aws.called("create_training_job")) == 1


def test_job_that_failed_while_left_fails_the_step(make: Make, aws: FakeSageMaker) -> None:
    left(make)
    next(iter(aws.jobs.values())).coming = ["Failed"]
    with pytest.raises(StepFailed, match="Failed"):
        make(resumes=True).run(defer=True)


def test_stop_between_create_and_leaving_stops_the_job(
    make: Make, aws: FakeSageMaker, record: Find, records: ExecutionRecords
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.after["create_training_job"] = [lambda: records.request_stop(EXECUTION.id)]
    with pytest.raises(StepStopped):
        make().run(defer=True)
    assert len(aws.called("stop_training_job")) == 1
    assert record().state == "Stopped"


@pytest.mark.parametrize("method", ["create_training_job", "describe_training_job"])
def test_kill_before_leaving_stops_the_job(
    method: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    driver = make()

    def kill() -> None:
        driver.killed = True

    aws.after[method] = [kill]
    with pytest.raises(StepStopped):
        driver.run(defer=True)
    assert aws.called("stop_training_job") or not aws.jobs
    assert record().state == "Stopped"


def test_outage_after_create_leaves_the_job(make: Make, aws: FakeSageMaker) -> None:
    fault = raises(client_error("DescribeTrainingJob", "InternalFailure", status=500))
    aws.before["describe_training_job"] = [lambda: None, fault]
    assert left(make).job in aws.jobs


def test_log_names_no_earlier_worker(
    make: Make, aws: FakeSageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    left(make)
    make(resumes=True).run(defer=True)
    assert "earlier worker" not in caplog.text
    assert aws.jobs
