"""Workers are lost, killed and timed out, AWS errs: never a second job, never one left running."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import (
    ExecutionRecordsError,
    StepFailed,
    StepStopped,
)
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import EXECUTION, STOPPABLE, Find, Make


class Killed(BaseException):
    """As an engine's time limit: no Exception."""


def test_a_fault_of_aws_is_no_verdict_on_the_step(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    fault = client_error("CreateTrainingJob", "InternalFailure", status=500)
    aws.before["create_training_job"] = [raises(fault)]
    run = make()
    with pytest.raises(type(fault)):
        run.run()
    assert record()["status"] == "Executing"
    assert make().run()["status"] == "Completed"


def test_an_error_that_the_engine_gives_up_at_is_recorded(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.before["describe_training_job"] = [raises(NoCredentialsError())]
    run = make()
    with pytest.raises(NoCredentialsError) as error:
        run.run()
    run.give_up(error.value)
    assert record()["status"] == "Failed"
    assert record()["reason"] == "NoCredentialsError: Unable to locate credentials"


def test_a_job_that_the_engine_gives_up_is_stopped(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(NoCredentialsError())]
    aws.before["stop_training_job"] = [lambda: None, raises(NoCredentialsError())]
    run = make()
    with pytest.raises(NoCredentialsError) as error:
        run.run()
    for _ in range(2):  # whether it may be stopped or not
        run.give_up(error.value)
        assert record()["status"] == "Failed"
    assert len(aws.called("stop_training_job")) == 2


@pytest.mark.parametrize(
    "error",
    [
        client_error("CreateTrainingJob", "InternalFailure", status=500),
        client_error("CreateTrainingJob", "ResourceInUse", "Job name already exists"),
    ],
    ids=["fault", "conflict"],
)
def test_an_answer_that_was_lost_starts_no_second_job(
    error: Exception, make: Make, aws: FakeSageMaker
) -> None:
    aws.after["create_training_job"] = [raises(error)]
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1


def test_a_worker_that_comes_back_finds_its_job(
    make: Make, aws: FakeSageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    aws.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(lost)]
    with pytest.raises(EndpointConnectionError):
        make().run()
    assert len(aws.jobs) == 1
    caplog.set_level(logging.INFO)
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1
    assert not aws.called("stop_")
    assert "not starting another" in caplog.text


def test_a_version_of_a_model_that_is_registered_twice_has_one_token(
    make: Make, aws: FakeSageMaker
) -> None:
    make("RegisterModel").run()
    make("RegisterModel").run()
    make("RegisterModel", generation=1).run()
    tokens = [
        request["ClientToken"]
        for request in aws.called("create_model_package")
        if "ClientToken" in request
    ]
    assert tokens[0] == tokens[1] != tokens[2]
    assert all(len(token) <= 36 for token in tokens)


def test_a_step_that_a_person_clears_gets_a_new_job(make: Make, aws: FakeSageMaker) -> None:
    make().run()
    make(generation=1).run()
    make(generation=1, attempt=1).run()
    assert len(aws.jobs) == 3


def test_killed_before_its_job_exists_leaves_none(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    run = make()
    aws.before["describe_training_job"] = [lambda: setattr(run, "killed", True)]
    with pytest.raises(StepStopped, match="before its job was started"):
        run.run()
    assert not aws.jobs
    assert record()["status"] == "Stopped"


@pytest.mark.parametrize("type_", sorted(STOPPABLE))
def test_killed_while_waiting_stops_the_job_once(
    type_: str, make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopping", "Stopping", "Stopped"))
    run = make(type_)
    describe = JOB_TYPES[type_].describe
    seen: list[str] = []
    aws.before[describe] = [
        lambda: None,
        lambda: None,
        lambda: setattr(run, "killed", True),
        lambda: None,
        lambda: seen.append(record()["status"]),
    ]
    with pytest.raises(StepStopped, match="Stopped"):
        run.run()
    assert len(aws.called("stop_")) == 1
    assert seen == ["Stopping"]
    assert record()["status"] == "Stopped"


def test_a_stop_that_is_asked_for_in_the_records_stops_the_job(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopped",))
    asked = [lambda: None, lambda: None, lambda: records.request_stop(EXECUTION.id)]
    aws.before["describe_training_job"] = asked
    with pytest.raises(StepStopped):
        make().run()
    assert len(aws.called("stop_training_job")) == 1
    with pytest.raises(StepStopped, match="before this step began"):
        make("Model").run()
    assert not aws.called("create_model")


def test_a_worker_that_comes_back_after_a_stop_waits_for_the_end_of_its_job(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopping", "Stopping", "Stopped"))
    lost = EndpointConnectionError(endpoint_url="http://127.0.0.1")
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(lost)]
    with pytest.raises(EndpointConnectionError):
        make().run()
    records.request_stop(EXECUTION.id)
    with pytest.raises(StepStopped, match=r"Training job .* Stopped"):
        make().run()
    assert [job.description["TrainingJobStatus"] for job in aws.jobs.values()] == ["Stopped"]
    assert record()["job"]["name"] in aws.jobs


def test_a_step_that_is_cleared_after_a_stop_says_what_to_do(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, record: Find
) -> None:
    make().run()
    records.request_stop(EXECUTION.id)
    with pytest.raises(StepStopped) as refused:
        make(generation=1).run()
    assert str(refused.value) == record()["reason"]
    assert record()["reason"].endswith("does not go on: start a new run")
    assert len(aws.jobs) == 1


def test_a_job_that_ends_while_it_is_being_stopped_keeps_its_end(
    make: Make, aws: FakeSageMaker
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Completed",))
    run = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: setattr(run, "killed", True)]
    assert run.run()["status"] == "Completed"


def test_a_stop_that_comes_too_late_is_no_error(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("InProgress", "Completed"))
    too_late = client_error("StopTrainingJob", "ValidationException", "the job is Completed")
    run = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: setattr(run, "killed", True)]

    def ended() -> None:
        (job,) = aws.jobs.values()
        job.coming = ["Completed"]
        raise too_late

    aws.before["stop_training_job"] = [ended]
    assert run.run()["status"] == "Completed"


def test_a_stop_that_another_has_asked_for_is_no_error(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    run = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: setattr(run, "killed", True)]

    def stops() -> None:
        (job,) = aws.jobs.values()
        job.coming = ["Stopping", "Stopped"]
        raise client_error("StopTrainingJob", "ValidationException", "the job is Stopping")

    aws.before["stop_training_job"] = [stops]
    with pytest.raises(StepStopped):
        run.run()


def test_a_time_limit_of_the_engine_stops_the_job(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(Killed("timed out"))]
    with pytest.raises(Killed):
        make().run()
    assert len(aws.called("stop_training_job")) == 1
    assert record()["status"] == "Stopped"
    assert "timed out" in record()["reason"]


def test_a_time_limit_while_the_job_is_made_stops_it(make: Make, aws: FakeSageMaker) -> None:
    aws.after["create_training_job"] = [raises(Killed("timed out"))]
    with pytest.raises(Killed):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_an_error_while_waiting_leaves_the_job_alone(make: Make, aws: FakeSageMaker) -> None:
    throttled = client_error("DescribeTrainingJob", "ThrottlingException")
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(throttled)]
    with pytest.raises(type(throttled)):
        make().run()
    assert not aws.called("stop_")


def test_a_job_that_no_record_can_be_kept_of_is_stopped(
    make: Make, aws: FakeSageMaker, tmp_path: Path
) -> None:
    def break_records() -> None:
        steps = tmp_path / EXECUTION.id / "steps"
        shutil.rmtree(steps)
        steps.touch()

    aws.after["create_training_job"] = [break_records]
    with pytest.raises(ExecutionRecordsError):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_a_job_that_vanishes_fails_the_step(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, aws.jobs.clear]
    with pytest.raises(StepFailed, match="has disappeared"):
        make().run()
