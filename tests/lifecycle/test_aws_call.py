"""Calls of AWS APIs as steps: what they return, wait for, repeat and stop."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from sagebridge.model.aws_calls import aws_call_arguments
from sagebridge.model.code_steps import AWS_CALL, AwsCallStep
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import join, parameter, plain
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import RetryPolicy
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle import drive
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.user_code.step_context import with_loaded
from sagebridge_operators.lifecycle.user_code.values import decode, untagged
from sagebridge_operators.lifecycle.watch import Watch
from sagebridge_operators.run_errors import StepFailed, StepSkipped, StepStopped
from sagebridge_operators.steps import JOB_TYPES
from tests.lifecycle.conftest import EXECUTION

REGION = "eu-west-1"
GLUE_WAIT = {
    "operation": "GetJobRun",
    "request": {"JobName": "$.request.JobName", "RunId": "$.JobRunId"},
    "status": "JobRun.JobRunState",
    "success": ["SUCCEEDED"],
    "failure": ["FAILED", "STOPPED"],
    "reason": "JobRun.ErrorMessage",
}
GLUE_STOP = {
    "operation": "BatchStopJobRun",
    "request": {"JobName": "$.request.JobName", "JobRunIds": ["$.JobRunId"]},
}
START = aws_call_arguments(
    "glue",
    "StartJobRun",
    request={"JobName": "load"},
    result="JobRunId",
    wait=GLUE_WAIT,
    stop=GLUE_STOP,
)
CLUSTER_WAIT = {
    "operation": "DescribeClusters",
    "request": {"clusters": ["c"]},
    "status": "clusters[].status",
    "success": ["ACTIVE"],
}
Calls = list[tuple[str, dict[str, Any]]]


class Service:
    """Clients that answer some operations themselves, and note all calls."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.answers: dict[str, Callable[[], Any]] = {}

    def client(self, name: Any) -> Any:
        made: Any = boto3.client(name, region_name=REGION, config=config_of(name, client_config()))
        send = made._make_api_call

        def answer(operation: str, request: dict[str, Any]) -> Any:
            self.calls.append((operation, request))
            if operation in self.answers:
                return self.answers[operation]()
            return send(operation, request)

        made._make_api_call = answer
        return made

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    def states(self, *states: str) -> None:
        """The states of the Glue job run, one for each look; the last one stays."""
        left = list(states)

        def look() -> Any:
            state = left.pop(0) if len(left) > 1 else left[0]
            return {"JobRun": {"JobRunState": state, "ErrorMessage": "no memory"}}

        self.answers |= {"StartJobRun": lambda: {"JobRunId": "jr_1"}, "GetJobRun": look}

        def stop() -> Any:
            left[:] = ["STOPPED"]
            return {}

        self.answers["BatchStopJobRun"] = stop


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.01, 0.02))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Service()


def driver(
    service: Service, folder: Path, arguments: dict[str, Any], **settings: Any
) -> StepDriver:
    step = Step(
        "Call", AWS_CALL, plain(arguments), engine=EngineSettings(**settings.pop("engine", {}))
    )
    records = ExecutionRecords(Folder(folder))
    backend = AwsBackend(lambda: service.client)
    call = AwsCallStep.of(step)
    return StepDriver(StepTask(call, EXECUTION, backend, records, lambda name: None, **settings))


def test_result_is_what_the_expression_selects(service: Service, tmp_path: Path) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
    body = join("", "rate ", parameter("Rate"))
    put = aws_call_arguments(
        "s3", "PutObject", request={"Bucket": "bucket", "Key": "k", "Body": body}
    )
    assert driver(service, tmp_path, put).run()["return_value"] is None
    get = aws_call_arguments(
        "s3", "GetObject", request={"Bucket": "bucket", "Key": "k"}, result="Body"
    )
    assert driver(service, tmp_path / "get", get).run()["return_value"] == "rate 0.2"


def test_result_may_be_the_whole_answer_or_part_of_the_request(
    service: Service, tmp_path: Path
) -> None:
    service.answers["Publish"] = lambda: {"MessageId": "1"}
    request = {"TargetArn": "arn:aws:sns:eu-west-1:111122223333:news", "Message": "x"}
    whole = aws_call_arguments("sns", "Publish", request=request, result="@")
    assert driver(service, tmp_path, whole).run()["return_value"] == {"MessageId": "1"}
    part = {**whole, "result": "$.request.Message"}
    assert driver(service, tmp_path / "part", part).run()["return_value"] == "x"


def test_waits_for_the_end_of_what_it_starts(service: Service, tmp_path: Path) -> None:
    service.states("RUNNING", "RUNNING", "SUCCEEDED")
    assert driver(service, tmp_path, START).run()["return_value"] == "jr_1"
    assert service.requests("GetJobRun")[0] == {"JobName": "load", "RunId": "jr_1"}
    assert len(service.requests("StartJobRun")) == 1


def test_failure_has_the_reason_of_the_service(service: Service, tmp_path: Path) -> None:
    service.states("FAILED")
    with pytest.raises(StepFailed, match="no memory"):
        driver(service, tmp_path, START).run()


def test_kill_stops_what_was_started(service: Service, tmp_path: Path) -> None:
    service.states("RUNNING")
    one = driver(service, tmp_path, START)
    started = service.answers["GetJobRun"]

    def look() -> Any:
        one.killed = True
        return started()

    service.answers["GetJobRun"] = look
    with pytest.raises(StepStopped):
        one.run()
    assert service.requests("BatchStopJobRun")[0] == {"JobName": "load", "JobRunIds": ["jr_1"]}


def test_next_worker_finds_what_a_lost_one_started(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.states("RUNNING", "RUNNING", "SUCCEEDED")
    lost = driver(service, tmp_path, START)
    with monkeypatch.context() as during:
        during.setattr(StepDriver, "_sleep", lambda self, seconds: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lost.run()
    assert driver(service, tmp_path, START, engine_try=2).run()["return_value"] == "jr_1"
    assert len(service.requests("StartJobRun")) == 1


def test_start_without_a_token_is_not_repeated(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 5)

    def lost() -> Any:
        raise EndpointConnectionError(endpoint_url="https://glue")

    service.answers["StartJobRun"] = lost
    with pytest.raises(StepFailed, match=r"answer of .*StartJobRun was lost"):
        driver(service, tmp_path, START).run()
    assert len(service.requests("StartJobRun")) == 1


def test_call_with_a_token_is_repeated_with_the_same(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 5)
    answers = [{"QueryExecutionId": "q"}, None]

    def start() -> Any:
        if (answer := answers.pop()) is None:
            raise EndpointConnectionError(endpoint_url="https://athena")
        return answer

    service.answers["StartQueryExecution"] = start
    query = aws_call_arguments(
        "athena", "StartQueryExecution", request={"QueryString": "SELECT 1"},
        result="QueryExecutionId",
    )  # fmt: skip
    assert driver(service, tmp_path, query).run()["return_value"] == "q"
    first, second = service.requests("StartQueryExecution")
    assert first["ClientRequestToken"] == second["ClientRequestToken"]


def test_values_of_a_run_are_never_paths(service: Service, tmp_path: Path) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
    request = {"Bucket": "bucket", "Key": "k", "Body": join("", "$.before[0]")}
    put = aws_call_arguments("s3", "PutObject", request=request)
    driver(service, tmp_path, put).run()
    stored = boto3.client("s3", region_name="us-east-1").get_object(Bucket="bucket", Key="k")
    assert stored["Body"].read() == b"$.before[0]"


def test_earlier_calls_come_first_and_their_errors_may_count_as_success(
    service: Service, tmp_path: Path
) -> None:
    iam = boto3.client("iam", region_name=REGION)
    iam.create_role(RoleName="jobs", AssumeRolePolicyDocument=json.dumps({}))
    create = {
        "operation": "CreateJob",
        "request": {
            "Name": "load",
            "Role": "$.before[0].Role.Arn",
            "Command": {"Name": "glueetl", "ScriptLocation": "s3://b/x.py"},
        },
        "ignore": ["AlreadyExistsException"],
    }
    role = {"service": "iam", "operation": "GetRole", "request": {"RoleName": "jobs"}}
    arguments = {**START, "before": [role, create, create]}
    assert driver(service, tmp_path, arguments).run()["return_value"]
    made = boto3.client("glue", region_name=REGION).get_job(JobName="load")["Job"]
    assert made["Role"].endswith(":role/jobs")


def test_sensor_waits_for_a_state(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="bucket")
    wait = {
        "operation": "HeadObject",
        "request": {"Bucket": "bucket", "Key": "k"},
        "status": "`found`",
        "success": ["found"],
        "pending": ["404"],
    }
    one = driver(service, tmp_path, aws_call_arguments("s3", wait=wait))
    looks = []

    def sleep(self: object, seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            s3.put_object(Bucket="bucket", Key="k", Body=b"")

    monkeypatch.setattr(StepDriver, "_sleep", sleep)
    one.run()
    assert len(looks) >= 2


def test_sensor_gives_up_after_its_timeout(service: Service, tmp_path: Path) -> None:
    sensor = aws_call_arguments("ecs", wait=CLUSTER_WAIT)
    soft = {"poll_timeout": 0.05, "soft_fail": True}
    with pytest.raises(StepSkipped):
        driver(service, tmp_path / "soft", sensor, engine=soft).run()
    with pytest.raises(StepFailed, match="has waited too long"):
        driver(service, tmp_path, sensor, engine={"poll_timeout": 0.05}).run()


def test_botocore_does_not_repeat_a_start_without_a_token() -> None:
    config = config_of("glue", client_config())
    assert config.retries["total_max_attempts"] == 1


def test_kill_ends_a_sensor(service: Service, tmp_path: Path) -> None:
    sensor = aws_call_arguments("ecs", wait=CLUSTER_WAIT)
    one = driver(service, tmp_path, sensor)
    looks: list[None] = []

    def look() -> Any:
        looks.append(None)
        assert len(looks) < 20, "the sensor goes on after its stop"
        one.killed = len(looks) > 1
        return {"clusters": [{"status": "PROVISIONING"}]}

    service.answers["DescribeClusters"] = look
    with pytest.raises(StepStopped, match="stopped while it waited"):
        one.run()


def test_stop_of_the_execution_ends_a_sensor(service: Service, tmp_path: Path) -> None:
    one = driver(service, tmp_path, aws_call_arguments("ecs", wait=CLUSTER_WAIT))
    records, looks, left = one.task.records, list[None](), list[list[str]]()
    ending = Ending(records, EXECUTION.id, lambda attempt: one.task.backend)

    def look() -> Any:
        looks.append(None)
        assert len(looks) < 20, "the sensor goes on after its stop"
        if len(looks) == 3:
            left.append(ending.stop(patience=5))
        return {"clusters": [{"status": "PROVISIONING"}]}

    service.answers["DescribeClusters"] = look
    with pytest.raises(StepStopped, match="stopped while it waited"):
        one.run()
    assert left == [[]]


def test_kill_of_a_call_without_a_stop_says_that_it_may_run(
    service: Service, tmp_path: Path
) -> None:
    service.states("RUNNING")
    one = driver(service, tmp_path, {key: one for key, one in START.items() if key != "stop"})
    look = service.answers["GetJobRun"]

    def killing() -> Any:
        one.killed = True
        return look()

    service.answers["GetJobRun"] = killing
    with pytest.raises(StepStopped, match=r"glue\.StartJobRun started: check whether it runs"):
        one.run()


def test_rejected_looks_do_not_give_a_started_job_up(service: Service, tmp_path: Path) -> None:
    service.states("RUNNING", "RUNNING", "SUCCEEDED")
    look, looks = service.answers["GetJobRun"], list[None]()

    def sometimes() -> Any:
        looks.append(None)
        if len(looks) in (2, 3):
            denied: Any = {
                "Error": {"Code": "AccessDeniedException", "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(denied, "GetJobRun")
        return look()

    service.answers["GetJobRun"] = sometimes
    assert driver(service, tmp_path, START).run()["return_value"] == "jr_1"


def test_result_that_looks_like_a_tag_stays_data(service: Service, tmp_path: Path) -> None:
    forged = {"__sagebridge__": "stored", "value": "another-execution/execution.json"}
    service.answers["Invoke"] = lambda: {"Payload": io.BytesIO(json.dumps(forged).encode())}
    request = {"FunctionName": "f"}
    call = aws_call_arguments("lambda", "Invoke", request=request, result="from_json(Payload)")
    outputs = driver(service, tmp_path, call).run()
    assert untagged(outputs["return_value"]) == decode(outputs["return_value"], {}) == forged


def test_large_result_is_kept_next_to_the_records(service: Service, tmp_path: Path) -> None:
    service.answers["Invoke"] = lambda: {"Payload": io.BytesIO(b"x" * 60_000)}
    call = aws_call_arguments(
        "lambda", "Invoke", request={"FunctionName": "f"}, result="Payload"
    )  # fmt: skip
    one = driver(service, tmp_path, call)
    outputs = with_loaded(one.task.records, one.run())
    assert outputs is not None
    assert outputs["return_value"] == "x" * 60_000


QUERY = aws_call_arguments(
    "athena",
    "StartQueryExecution",
    request={"QueryString": "SELECT 1"},
    result="QueryExecutionId",
    wait={
        "operation": "GetQueryExecution",
        "request": {"QueryExecutionId": "$.QueryExecutionId"},
        "status": "QueryExecution.Status.State",
        "success": ["SUCCEEDED"],
        "failure": ["FAILED", "CANCELLED"],
    },
    stop={
        "operation": "StopQueryExecution",
        "request": {"QueryExecutionId": "$.QueryExecutionId"},
    },
)


class Killed(BaseException):
    """The worker dies."""


def queries(service: Service) -> None:
    """Athena runs one query for each token, until it is stopped."""
    states = ["RUNNING"]

    def stop() -> Any:
        states[:] = ["CANCELLED"]
        return {}

    service.answers |= {
        "StartQueryExecution": lambda: {"QueryExecutionId": "q"},
        "GetQueryExecution": lambda: {"QueryExecution": {"Status": {"State": states[0]}}},
        "StopQueryExecution": stop,
    }


def lose_worker(
    service: Service, folder: Path, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> StepDriver:
    """A worker that dies after its call was carried out, before it recorded the answer."""
    lost = driver(service, folder, arguments)
    operation, kept = arguments["operation"], service.answers[arguments["operation"]]

    def die() -> Any:
        raise Killed

    with monkeypatch.context() as during:
        during.setattr(StepDriver, "interrupt", lambda self, limit: None)
        service.answers[operation] = die
        with pytest.raises(Killed):
            lost.run()
    service.answers[operation] = kept
    return lost


def test_stop_reaches_a_call_whose_worker_was_lost(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries(service)
    lost = lose_worker(service, tmp_path, QUERY, monkeypatch)
    lost.task.records.request_stop(EXECUTION.id)
    with pytest.raises(StepStopped):
        driver(service, tmp_path, QUERY, engine_try=2).run()
    assert service.requests("StopQueryExecution") == [{"QueryExecutionId": "q"}]
    tokens = {one["ClientRequestToken"] for one in service.requests("StartQueryExecution")}
    assert len(tokens) == 1


def test_time_limit_during_a_call_stops_what_it_started(service: Service, tmp_path: Path) -> None:
    queries(service)
    start, answers = service.answers["StartQueryExecution"], list[Any]()

    class Timeout(BaseException):
        pass

    def slow() -> Any:
        answers.append(start())
        if len(answers) == 1:
            raise Timeout
        return answers[0]

    service.answers["StartQueryExecution"] = slow
    with pytest.raises(StepStopped, match="time limit"):
        driver(service, tmp_path, QUERY).run()
    assert service.requests("StopQueryExecution") == [{"QueryExecutionId": "q"}]


def test_stop_reports_a_call_whose_answer_was_lost(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.states("RUNNING")
    lost = lose_worker(service, tmp_path, START, monkeypatch)
    Ending(lost.task.records, EXECUTION.id, lambda attempt: lost.task.backend).stop(patience=1)
    (attempt,) = lost.task.records.attempts(EXECUTION.id)
    assert attempt.state == "Stopped"
    assert "glue.StartJobRun may have been carried out" in attempt.reason


def test_policy_does_not_repeat_a_start_without_a_token(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 5)

    def lost() -> Any:
        raise EndpointConnectionError(endpoint_url="https://glue")

    service.answers["StartJobRun"] = lost
    one = driver(service, tmp_path, START)
    policy = RetryPolicy(("Step.SERVICE_FAULT",), interval_seconds=1, max_attempts=3)
    one.task = replace(one.task, step=replace(one.task.step, retry_policies=(policy,)))
    with pytest.raises(StepFailed, match=r"answer of .*StartJobRun was lost"):
        one.run()
    assert len(service.requests("StartJobRun")) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"wait": {**GLUE_WAIT, "request": {"JobName": "load", "RunId": "$.NoSuchId"}}},
        {"result": "from_json(JobRunId)"},
        {"wait": {**GLUE_WAIT, "status": "from_json(JobRun.JobRunState)"}},
    ],
)
def test_started_job_that_cannot_be_followed_is_stopped(
    changed: dict[str, Any], service: Service, tmp_path: Path
) -> None:
    service.states("RUNNING")
    with pytest.raises(StepFailed, match="a stop was sent"):
        driver(service, tmp_path, {**START, **changed}).run()
    assert service.requests("BatchStopJobRun") == [{"JobName": "load", "JobRunIds": ["jr_1"]}]


def test_invalid_expression_fails_before_the_call(service: Service, tmp_path: Path) -> None:
    service.states("RUNNING")
    with pytest.raises(StepFailed, match=r"JobRunId\["):
        driver(service, tmp_path, {**START, "result": "JobRunId["}).run()
    assert not service.requests("StartJobRun")


def test_execution_that_ended_after_a_lost_answer_is_found(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 5)
    taken: Any = {
        "Error": {"Code": "ExecutionAlreadyExists", "Message": "it exists"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }

    def start() -> Any:
        if len(service.requests("StartExecution")) == 1:
            raise EndpointConnectionError(endpoint_url="https://states")
        raise ClientError(taken, "StartExecution")

    machine = "arn:aws:states:eu-west-1:111122223333:stateMachine:Load"
    service.answers["StartExecution"] = start
    call = aws_call_arguments(
        "stepfunctions",
        "StartExecution",
        request={"stateMachineArn": machine},
        result="executionArn",
    )
    found = driver(service, tmp_path, call).run()["return_value"]
    name = service.requests("StartExecution")[0]["name"]
    assert found == f"arn:aws:states:eu-west-1:111122223333:execution:Load:{name}"


def test_trigger_gets_no_result(service: Service, tmp_path: Path) -> None:
    service.states("RUNNING")
    left = driver(service, tmp_path, {**START, "result": "JobRunId"}).run(defer=True)
    assert isinstance(left, Watch)
    assert '"value"' not in left.job
    found = JOB_TYPES[AWS_CALL].find(service, left.job)
    assert found is not None
    assert found["State"] == "Executing"


def test_command_is_not_sent_twice(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "PATIENCE", 5)
    sent, client = list[str](), service.client

    def lose(**event: Any) -> None:
        sent.append(event["event_name"])
        raise EndpointConnectionError(endpoint_url="https://ssm")

    def losing(name: Any) -> Any:
        made = client(name)
        made.meta.events.register_first("before-send.ssm.SendCommand", lose)
        return made

    monkeypatch.setattr(service, "client", losing)
    request = {"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-1"]}
    command = aws_call_arguments("ssm", "SendCommand", request=request)
    with pytest.raises(StepFailed, match=r"answer of ssm\.SendCommand was lost"):
        driver(service, tmp_path, command).run()
    assert len(sent) == 1


def test_earlier_calls_must_be_repeatable() -> None:
    launch = {"operation": "RunInstances", "request": {"MinCount": 1, "MaxCount": 1}}
    with pytest.raises(TypeError, match="RunInstances: a call before"):
        aws_call_arguments("ec2", "DescribeInstances", before=[launch])
