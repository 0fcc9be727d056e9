"""EMRServerless steps on their own application, which is deleted with its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import EXECUTION, ROLE

DRIVER = {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://bucket/job.py"}}}
APPLICATION = {"releaseLabel": "emr-7.0.0", "type": "SPARK"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.01, 0.02))
    with FaultyAws() as server:
        yield server


def driver(service: FaultyAws, folder: Path, **more: Any) -> StepDriver:
    arguments = {
        "ExecutionRoleArn": ROLE,
        "ApplicationConfig": APPLICATION,
        "JobConfig": {**DRIVER, "name": "nightly"},
    }
    backend = AwsBackend(
        lambda: lambda name: service.client(name, config=config_of(name, client_config()))
    )
    one = Step("Spark", "EMRServerless", plain(arguments))
    records = ExecutionRecords(Folder(folder))
    return StepDriver(StepTask(one, EXECUTION, backend, records, lambda name: None, **more))


def application_state(service: FaultyAws) -> str:
    found = service.client("emr-serverless").get_application(applicationId="app1")
    return str(found["application"]["state"])


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_own_application_is_deleted_after_its_run(
    status: str, service: FaultyAws, tmp_path: Path
) -> None:
    service.add_scripts(JobScript(kind="JobRun", statuses=("InProgress", status)))
    running = driver(service, tmp_path)
    if status == "Failed":
        with pytest.raises(StepFailed, match="FAILED"):
            running.run()
    else:
        outputs = running.run()
        assert outputs["application_id"] == "app1"
    (run,) = service.resources("JobRun")
    assert run.startswith(f"run-nightly-{EXECUTION.id}-")
    assert application_state(service) == "TERMINATED"


def test_stop_cancels_the_run_and_deletes_the_application(
    service: FaultyAws, tmp_path: Path
) -> None:
    service.add_scripts(JobScript(kind="JobRun", seconds=3600, stop_seconds=0.1))
    running: list[StepDriver] = []

    def kill(job: object) -> None:
        running[0].killed = True

    running.append(driver(service, tmp_path, on_job=kill))
    with pytest.raises(StepStopped):
        running[0].run()
    assert service.count("CancelJobRun") >= 1
    assert application_state(service) == "TERMINATED"


@pytest.mark.parametrize("operation", ["CreateApplication", "StartJobRun"])
def test_lost_answer_makes_no_second_application_or_run(
    operation: str, service: FaultyAws, tmp_path: Path
) -> None:
    service.add_faults(FaultRule(fault="lose_answer", operation=operation, times=1))
    driver(service, tmp_path).run()
    assert len(service.resources("JobRun")) == 1
    client = service.client("emr-serverless")
    assert len(client.list_applications()["applications"]) == 1
