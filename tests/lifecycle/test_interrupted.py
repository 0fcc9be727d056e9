"""Lost, killed and timed-out workers, and AWS errors: one job only, and none left running."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from sagebridge_operators.lifecycle import attempt_job
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import (
    ExecutionRecordsError,
    StepFailed,
    StepStopped,
    SupersededWorker,
)
from sagebridge_operators.steps import JOB_TYPES
from tests.attempts import job_of
from tests.fakes import FakeBackend, FakeSageMaker, Plan, client_error, raises
from tests.lifecycle.conftest import EXECUTION, STOPPABLE, Find, Make

LOST = NoCredentialsError()
"""An error that ends a worker without a result for the step."""


class TaskTimeout(BaseException):
    """Like Airflow's AirflowTaskTimeout."""


class TimeLimit(BaseException):
    """An engine's time limit, which is not an Exception."""


def test_server_error_leaves_the_step_running(make: Make, aws: FakeSageMaker, record: Find) -> None:
    fault = client_error("CreateTrainingJob", "InternalFailure", status=500)
    aws.before["create_training_job"] = [raises(fault)]
    run = make()
    with pytest.raises(type(fault)):
        run.run()
    assert record().state == "Executing"
    assert make().run()["status"] == "Completed"


def test_give_up_records_the_error(make: Make, aws: FakeSageMaker, record: Find) -> None:
    aws.before["describe_training_job"] = [raises(NoCredentialsError())]
    run = make()
    with pytest.raises(NoCredentialsError) as error:
        run.run()
    run.give_up(error.value)
    assert record().state == "Failed"
    assert record().reason == "NoCredentialsError: Unable to locate credentials"
    end = record().end
    assert end is not None
    assert end.failure is not None
    assert end.failure.kind == "service"


def test_give_up_stops_the_job(make: Make, aws: FakeSageMaker, record: Find) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(NoCredentialsError())]
    run = make()
    with pytest.raises(NoCredentialsError) as error:
        run.run()
    run.give_up(error.value)
    assert record().state == "Failed"
    assert f"a stop was sent to Training job {job_of(record()).name}" in record().reason
    assert len(aws.called("stop_training_job")) == 1


@pytest.mark.parametrize(
    "error",
    [
        client_error("CreateTrainingJob", "InternalFailure", status=500),
        client_error("CreateTrainingJob", "ResourceInUse", "Job name already exists"),
    ],
    ids=["fault", "conflict"],
)
def test_lost_answer_starts_no_second_job(error: Exception, make: Make, aws: FakeSageMaker) -> None:
    aws.after["create_training_job"] = [raises(error)]
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1


def test_next_worker_finds_the_job(
    make: Make, aws: FakeSageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    aws.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        make().run()
    assert len(aws.jobs) == 1
    caplog.set_level(logging.INFO)
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1
    assert not aws.called("stop_")
    assert "not starting another" in caplog.text


def test_worker_without_the_records_finds_the_last_job(
    make: Make, aws: FakeSageMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The records are on the disk of a lost machine, so the names of jobs are described."""
    aws.plans["Train"] = Plan(("Failed",))
    with pytest.raises(StepFailed):
        make(engine_try=1, user_retries=1).run()
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        make(engine_try=2, user_retries=1).run()
    first, second = aws.jobs.values()
    assert first.coming == ["Failed"]
    second.coming = ["Completed"]

    elsewhere = make(engine_try=3, user_retries=1)
    empty = ExecutionRecords(Folder(tmp_path / "elsewhere"))
    elsewhere.task = replace(elsewhere.task, records=empty)

    assert elsewhere.run()["job"]["name"] == second.description["TrainingJobName"]
    assert len(aws.called("create_")) == 2
    assert "set SAGEBRIDGE_RECORDS to a location that all workers share" in caplog.text


def test_first_try_describes_one_name(make: Make, aws: FakeSageMaker) -> None:
    make(engine_try=1).run()
    assert [name for name, _ in aws.calls][:2] == ["describe_training_job", "create_training_job"]


def test_repeated_registration_uses_one_token(make: Make, aws: FakeSageMaker) -> None:
    aws.after["create_model_package"] = [raises(LOST)]
    with pytest.raises(NoCredentialsError):
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


def test_registered_version_is_found_by_recorded_arn(make: Make, aws: FakeSageMaker) -> None:
    aws.before["describe_model_package"] = [raises(LOST)] * 2
    with pytest.raises(NoCredentialsError):
        make("RegisterModel").run()
    assert make("RegisterModel").run()["status"] == "Completed"
    made = [one for one in aws.called("create_model_package") if "ClientToken" in one]
    assert len(made) == 1


def test_cleared_step_gets_a_new_job(make: Make, aws: FakeSageMaker) -> None:
    make().run()
    make(generation=1).run()
    assert len(aws.jobs) == 2


def test_next_worker_after_the_end_returns_same_outputs(make: Make, aws: FakeSageMaker) -> None:
    outputs = make().run()
    calls = len(aws.calls)
    assert make().run() == outputs
    assert len(aws.calls) == calls


def test_kill_before_create_leaves_no_job(make: Make, aws: FakeSageMaker, record: Find) -> None:
    run = make()
    aws.before["describe_training_job"] = [lambda: setattr(run, "killed", True)]
    with pytest.raises(StepStopped, match="before its job was created"):
        run.run()
    assert not aws.jobs
    assert record().state == "Stopped"


@pytest.mark.parametrize("type_", sorted(STOPPABLE))
def test_kill_while_waiting_stops_the_job_once(
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
        lambda: seen.append(record().state),
    ]
    with pytest.raises(StepStopped, match="Stopped"):
        run.run()
    assert len(aws.called("stop_")) == 1
    assert seen == ["Stopping"]
    assert record().state == "Stopped"


def test_stop_request_stops_the_job_and_starts_no_other(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, backend: FakeBackend
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopped",))
    ending = Ending(records, EXECUTION.id, lambda attempt: backend)

    def stop() -> None:
        ending.stop(0)

    aws.before["describe_training_job"] = [*[lambda: None] * 3, stop]
    with pytest.raises(StepStopped):
        make().run()
    assert len(aws.called("stop_training_job")) == 1
    with pytest.raises(StepStopped, match="before this step started"):
        make("Model", name="Other").run()
    assert not aws.called("create_model")


def test_next_worker_after_a_stop_waits_for_the_job(
    make: Make,
    aws: FakeSageMaker,
    records: ExecutionRecords,
    record: Find,
    backend: FakeBackend,
) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Stopping", "Stopping", "Stopped"))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        make().run()
    Ending(records, EXECUTION.id, lambda attempt: backend).stop(0)
    assert record().state == "Stopping"
    with pytest.raises(StepStopped, match=r"Training job .* Stopped"):
        make().run()
    assert [job.description["TrainingJobStatus"] for job in aws.jobs.values()] == ["Stopped"]
    assert job_of(record()).name in aws.jobs


def test_cleared_step_of_stopped_execution_says_what_to_do(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords, record: Find
) -> None:
    make().run()
    records.request_stop(EXECUTION.id)
    with pytest.raises(StepStopped) as refused:
        make(generation=1).run()
    assert str(refused.value) == record().reason
    assert record().reason.endswith("before this step started; start a new run")
    assert len(aws.jobs) == 1


def test_job_that_succeeds_during_stop_keeps_its_end(make: Make, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",), ("Completed",))
    run = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: setattr(run, "killed", True)]
    assert run.run()["status"] == "Completed"


def test_stop_of_an_ended_job_is_ignored(make: Make, aws: FakeSageMaker) -> None:
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


def test_stop_of_a_stopping_job_is_ignored(make: Make, aws: FakeSageMaker) -> None:
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


def test_engine_time_limit_stops_the_job(make: Make, aws: FakeSageMaker, record: Find) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [
        lambda: None,
        lambda: None,
        raises(TimeLimit("timed out")),
    ]
    with pytest.raises(TimeLimit):
        make().run()
    assert len(aws.called("stop_training_job")) == 1
    assert record().state == "Stopped"
    assert "timed out" in record().reason


def test_task_time_limit_fails_the_step(make: Make, aws: FakeSageMaker, record: Find) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    limit = TaskTimeout("Timeout, PID: 7")
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(limit)]
    with pytest.raises(StepStopped, match=r"stopped by the task's time limit"):
        make().run()
    assert len(aws.called("stop_training_job")) == 1
    end = record().end
    assert end is not None
    assert end.failure is not None
    assert end.failure.kind == "time-limit"


def test_own_time_limit_stops_the_job(make: Make, aws: FakeSageMaker, record: Find) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    with pytest.raises(StepStopped, match=r"time limit \(StepTimeout: 0.05 s\)") as caught:
        make(time_limit=0.05, user_retries=1).run()
    assert len(aws.called("stop_training_job")) == 1
    assert record().state == "Stopped"
    assert caught.value.retry == (1, 2)


def test_unknown_status_is_waited_out_until_the_deadline(
    make: Make, aws: FakeSageMaker, record: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.plans["Train"] = Plan(("Pondering",))
    monkeypatch.setattr(attempt_job, "_QUEUEING", timedelta(seconds=-60))
    with pytest.raises(
        StepFailed, match="passed its maximum run time with the unknown status Pondering"
    ):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_outage_is_waited_out_until_the_deadline(
    make: Make, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    monkeypatch.setattr(attempt_job, "_QUEUEING", timedelta(seconds=-60))
    throttled = client_error("DescribeTrainingJob", "ThrottlingException")
    aws.before["describe_training_job"] = [lambda: None, lambda: None, *[raises(throttled)] * 9]
    with pytest.raises(
        StepFailed,
        match=r"job pipelines-\S+ has passed its maximum run time, and its status is unknown since",
    ):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_time_limit_during_create_stops_the_job(make: Make, aws: FakeSageMaker) -> None:
    aws.after["create_training_job"] = [raises(TimeLimit("timed out"))]
    with pytest.raises(TimeLimit):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


@pytest.mark.parametrize(
    "error",
    [
        client_error("DescribeTrainingJob", "ThrottlingException"),
        client_error("DescribeTrainingJob", "ServiceUnavailable", status=503),
        client_error("DescribeTrainingJob", "ExpiredTokenException"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ],
    ids=["throttled", "fault", "expired", "no connection"],
)
def test_outages_are_retried(
    error: Exception, make: Make, aws: FakeSageMaker, backend: FakeBackend
) -> None:
    aws.before["describe_training_job"] = [lambda: None, lambda: None, *[raises(error)] * 30]
    assert make().run()["status"] == "Completed"
    assert len(aws.called("create_")) == 1
    assert not aws.called("stop_")
    assert backend.renewed == (30 if "Expired" in str(error) else 0)


def test_expired_credentials_are_renewed_once(
    make: Make, aws: FakeSageMaker, backend: FakeBackend
) -> None:
    expired = client_error("CreateTrainingJob", "ExpiredTokenException", "the token has expired")
    aws.before["create_training_job"] = [raises(expired)]
    assert make().run()["status"] == "Completed"
    assert backend.renewed == 1
    aws.before["create_training_job"] = [raises(expired)] * 2
    with pytest.raises(StepFailed, match="renew them and clear the step"):
        make(generation=1).run()


def test_next_worker_replaces_a_job_stopped_elsewhere(
    make: Make, aws: FakeSageMaker, record: Find
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        make().run()
    (job,) = aws.jobs.values()
    job.coming = ["Stopped"]
    aws.plans["Train"] = Plan()
    assert make().run()["status"] == "Completed"
    assert record().number == 1
    assert len(aws.jobs) == 2


def test_earlier_worker_does_not_overwrite_a_later_one(
    make: Make, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    late = make()
    aws.before["describe_training_job"] = [lambda: None, lambda: None, raises(LOST)]
    with pytest.raises(NoCredentialsError):
        late.run()
    aws.plans["Train"] = Plan()
    make(generation=1).run()
    assert len(aws.called("stop_training_job")) == 1
    late.give_up(ValueError("too late"))
    assert {one.generation: one.state for one in records.attempts(EXECUTION.id)} == {
        0: "Stopped",
        1: "Succeeded",
    }
    with pytest.raises(SupersededWorker):
        make().run()


def test_unrecordable_job_is_stopped(make: Make, aws: FakeSageMaker, tmp_path: Path) -> None:
    def break_records() -> None:
        steps = tmp_path / EXECUTION.id / "steps"
        shutil.rmtree(steps)
        steps.touch()

    aws.after["create_training_job"] = [break_records]
    with pytest.raises(ExecutionRecordsError):
        make().run()
    assert len(aws.called("stop_training_job")) == 1


def test_later_try_wins_over_greater_generation(make: Make, aws: FakeSageMaker) -> None:
    """If ``retries`` of a task is lowered, its generation shrinks while its try grows."""
    make(generation=4, engine_try=2).run()
    make(generation=1, engine_try=3).run()
    make(generation=4, engine_try=4).run()
    assert len(aws.jobs) == 3
    with pytest.raises(SupersededWorker):
        make(generation=1, engine_try=1).run()
