"""EMRServerless steps on their own application, which is deleted with its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge.model.values import EMPTY
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from sagebridge_operators.steps import emr_serverless
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


def driver(
    service: FaultyAws,
    folder: Path,
    *,
    job: Mapping[str, Any] = EMPTY,
    application: Mapping[str, Any] = APPLICATION,
    **more: Any,
) -> StepDriver:
    arguments = {
        "ExecutionRoleArn": ROLE,
        "ApplicationConfig": application,
        "JobConfig": {**DRIVER, "name": "nightly", **job},
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


@pytest.mark.parametrize("job", [{}, {"jobDriver": {"sparkSubmit": {}}}], ids=["service", "client"])
def test_rejected_run_leaves_no_application(
    job: dict[str, Any], service: FaultyAws, tmp_path: Path
) -> None:
    """The service rejects the run, or botocore does since ``entryPoint`` is missing."""
    if not job:
        service.add_faults(FaultRule(fault="access_denied", operation="StartJobRun", times=1))
    with pytest.raises(StepFailed, match=r"AccessDenied|entryPoint"):
        driver(service, tmp_path, job=job).run()
    assert application_state(service) == "TERMINATED"


def test_stop_before_the_run_leaves_no_application(
    service: FaultyAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died after CreateApplication: no run is in the list."""

    def die(client: Any, application: str, *passing: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(emr_serverless, "_wait", die)
    monkeypatch.setattr(StepDriver, "interrupt", lambda driver, limit: None)
    lost = driver(service, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        lost.run()
    monkeypatch.undo()
    Ending(lost.task.records, EXECUTION.id, lambda attempt: lost.task.backend).stop(patience=5.0)
    assert application_state(service) == "TERMINATED"


def test_starting_application_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emr_serverless, "_PAUSE", 0.0)
    states = iter(("STARTING", "STARTED", "STOPPING", "STOPPED"))
    calls: list[str] = []

    class Slow:
        def get_application(self, **request: Any) -> Any:
            calls.append(next(states))
            return {"application": {"state": calls[-1]}}

        def stop_application(self, **request: Any) -> None:
            calls.append("stop")

        def delete_application(self, **request: Any) -> None:
            calls.append("delete")

    emr_serverless.STEP.clean_up(Slow(), "own:app1/run-1", {})
    assert calls == ["STARTING", "STARTED", "stop", "STOPPING", "STOPPED", "delete"]


def test_own_application_stops_when_it_is_idle(service: FaultyAws, tmp_path: Path) -> None:
    """Also if no worker is left to delete it."""
    application = {**APPLICATION, "autoStopConfiguration": {"enabled": False}}
    driver(service, tmp_path, application=application).run()
    (made,) = service.requests("CreateApplication")
    assert made.members["autoStopConfiguration"]["enabled"] is True
