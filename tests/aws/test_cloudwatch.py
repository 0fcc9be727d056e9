"""The log of a job in CloudWatch, and that CloudWatch never harms a step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.backends import cloudwatch
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.backends.cloudwatch import CloudWatchLog
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from tests.fakes import STARTED
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_requests import training
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws

GROUP = "/aws/sagemaker/TrainingJobs"
PAGE = (
    "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"
    "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3D"
)


@pytest.fixture
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        yield server


@pytest.fixture
def backend(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> AwsBackend:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.05, 0.1))
    return AwsBackend(
        lambda: lambda name: aws.client(name, config=config_of(name, client_config()))
    )


@pytest.fixture
def job_log(backend: AwsBackend) -> CloudWatchLog:
    return backend.job_log("Training", "job")


def write(aws: FaultyAws, stream: str, *lines: str, at: int = 0) -> None:
    """Writes events to a stream, one per millisecond from ``at`` on (default: now)."""
    logs: Any = aws.client("logs")
    names = {"logGroupName": GROUP, "logStreamName": stream}
    for call, given in (
        (logs.create_log_group, {"logGroupName": GROUP}),
        (logs.create_log_stream, names),
    ):
        try:
            call(**given)
        except logs.exceptions.ResourceAlreadyExistsException:
            continue
    first = at or int(time.time() * 1000)
    events = [{"timestamp": first + n, "message": line} for n, line in enumerate(lines)]
    logs.put_log_events(**names, logEvents=events)


def test_lines_are_read_once_and_late_ones_too(aws: FaultyAws, job_log: CloudWatchLog) -> None:
    write(aws, "job/algo-1-1700000000", "one", "two", at=100_000)
    write(aws, "job-2/algo-1-1700000000", "of another job", at=100_000)
    assert job_log.read() == ["one", "two"]
    assert job_log.read() == []
    write(aws, "job/algo-2-1700000000", "late", at=90_000)
    write(aws, "job/algo-1-1700000000", "three\nfour", at=110_000)
    assert job_log.read() == ["[algo-2] late", "[algo-1] three", "[algo-1] four"]
    assert job_log.read() == []
    assert aws.count("FilterLogEvents") == 4


def test_another_worker_goes_on_at_the_recorded_position(
    aws: FaultyAws, backend: AwsBackend, job_log: CloudWatchLog
) -> None:
    write(aws, "job/algo-1", "old", at=100_000)
    write(aws, "job/algo-1", "last", at=200_000)
    job_log.read()
    assert job_log.position == 200_000
    write(aws, "job/algo-1", "new", at=201_000)
    assert backend.job_log("Training", "job", job_log.position).read() == ["last", "new"]


@pytest.mark.parametrize("newest_first", [True, False], ids=["", "botocore-1.42"])
def test_long_log_shows_its_last_lines_and_a_link(
    newest_first: bool, aws: FaultyAws, job_log: CloudWatchLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not newest_first:
        client = job_log.client()
        shape = client.meta.service_model.operation_model("FilterLogEvents").input_shape
        monkeypatch.delitem(shape.members, "startFromHead", raising=False)
    lines = [str(number) for number in range(2500)]
    for start in range(0, 2500, 500):
        write(aws, "job/algo-1", *lines[start : start + 500], at=100_000 + start)
    note, *shown = job_log.read()
    assert note == f"job log: only the last 1000 lines are shown; the whole log: {PAGE}job$252F"
    assert shown == lines[1500:]
    assert job_log.read(100_000) == []
    assert aws.count("FilterLogEvents") <= 4
    write(aws, "job/algo-1", "x" * 9000, at=200_000)
    assert job_log.read() == ["x" * 8000 + "… (1000 characters more)"]


def test_whole_log_on_request(aws: FaultyAws, job_log: CloudWatchLog) -> None:
    lines = [str(number) for number in range(2500)]
    write(aws, "job/algo-1", *lines, at=100_000)
    assert job_log.read(100_000) == lines


def test_missing_group_is_reported_once(aws: FaultyAws, job_log: CloudWatchLog) -> None:
    (line,) = job_log.read()
    assert f"log group {GROUP} does not exist yet" in line
    assert job_log.read() == []
    write(aws, "job/algo-1", "one")
    assert job_log.read() == ["one"]


def test_denied_access_is_reported_once_and_not_tried_again(
    aws: FaultyAws, job_log: CloudWatchLog
) -> None:
    aws.add_faults(FaultRule(fault="access_denied", service="logs"))
    (line,) = job_log.read()
    assert line.startswith("job log: no permission logs:FilterLogEvents for the log group")
    assert line.endswith(f"{PAGE}job$252F")
    assert job_log.read() == []
    assert len(aws.requests(service="logs")) == 1


def test_outage_pauses_the_log(
    aws: FaultyAws, job_log: CloudWatchLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(aws, "job/algo-1", "one")
    aws.clear_requests()
    aws.add_faults(FaultRule(fault="throttle", service="logs", times=2))
    (line,) = job_log.read()
    assert "ThrottlingException" in line
    assert job_log.read() == []
    assert len(aws.requests(service="logs")) == 1
    clock = time.monotonic()
    for seconds in (31, 31 + 61):
        moved = clock + seconds
        monkeypatch.setattr(cloudwatch, "monotonic", partial(float, moved))
        shown = job_log.read()
    assert shown == ["one"]


def test_model_has_no_log(aws: FaultyAws, backend: AwsBackend) -> None:
    assert backend.job_log("Model", "m").read() == []
    assert aws.requests(service="logs") == []


@pytest.fixture
def driver(backend: AwsBackend, tmp_path: Path) -> StepDriver:
    arguments = training("")
    del arguments["TrainingJobName"]
    step = Step("Train", "Training", arguments=plain(arguments))
    execution = Execution("0123456789ab", "p", "airflow", "dag/run", STARTED, {})
    records = ExecutionRecords(Folder(tmp_path))
    return StepDriver(StepTask(step, execution, backend, records, lambda step: None))


def test_failed_step_shows_the_lines_of_its_job(
    aws: FaultyAws, driver: StepDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    aws.add_scripts(JobScript(looks=3, statuses=("InProgress", "Failed")))
    name = "pipelines-0123456789ab-Train"

    def write_log(job: Any) -> None:
        write(aws, f"{job['name']}/algo-1-1700000000", "epoch 1", "the cause", at=100_000)

    object.__setattr__(driver.task, "on_job", write_log)
    with pytest.raises(StepFailed):
        driver.run()
    assert caplog.messages.count("[Train] epoch 1") == 1
    assert caplog.messages.count("[Train] the cause") == 1
    assert {one.name for one in aws.requests("DescribeTrainingJob")} == {
        one for one in [aws.requests("CreateTrainingJob")[0].name] if one.startswith(name)
    }


@pytest.mark.parametrize("fault", ["throttle", "access_denied", "drop", "error", "expired_token"])
def test_no_fault_of_cloudwatch_fails_a_step(
    fault: Any, aws: FaultyAws, driver: StepDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    aws.add_scripts(JobScript(looks=4))
    aws.add_faults(FaultRule(fault=fault, service="logs"))
    assert driver.run()["status"] == "Completed"
    assert sum("job log: " in line for line in caplog.messages) == 1
    assert len(aws.requests(service="logs")) == 1
