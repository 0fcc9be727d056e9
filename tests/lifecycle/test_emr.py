"""EMR steps: whose cluster ends, and what a lost worker finds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle import advance, drive
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed, StepStopped
from sagebridge_operators.steps import emr
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import EXECUTION

JAR = {"HadoopJarStep": {"Jar": "s3://bucket/job.jar"}}
CLUSTER: dict[str, Any] = {
    "ReleaseLabel": "emr-7.0.0",
    "Instances": {
        "InstanceGroups": [
            {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
        ]
    },
}
OWN = {"ClusterConfig": CLUSTER, "StepConfig": JAR}
SHARED = {"ClusterId": "j-1", "StepConfig": JAR}


@pytest.fixture
def service() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        yield server


@pytest.fixture
def backend(service: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> AwsBackend:
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.01, 0.02))
    return AwsBackend(
        lambda: lambda name: service.client(name, config=config_of(name, client_config()))
    )


def driver(backend: AwsBackend, folder: Path, arguments: dict[str, Any], **more: Any) -> StepDriver:
    one = Step("Spark", "EMR", plain(arguments))
    records = ExecutionRecords(Folder(folder))
    return StepDriver(StepTask(one, EXECUTION, backend, records, lambda name: None, **more))


def cluster_state(service: FaultyAws) -> str:
    found = service.client("emr").describe_cluster(ClusterId="j-OWN1")
    return str(found["Cluster"]["Status"]["State"])


def test_own_cluster_ends_with_its_step(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    outputs = driver(backend, tmp_path, OWN).run()
    (made,) = service.requests("RunJobFlow")
    assert made.members["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert made.members["Steps"][0]["ActionOnFailure"] == "TERMINATE_CLUSTER"
    assert outputs["cluster_id"] == "j-OWN1"
    assert cluster_state(service) == "TERMINATED"


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_cluster_that_stays_alive_is_terminated(
    status: str,
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = backend.client("emr")
    run = client.run_job_flow

    def alive(**request: Any) -> Any:
        instances = {**request["Instances"], "KeepJobFlowAliveWhenNoSteps": True}
        return run(**{**request, "Instances": instances})

    monkeypatch.setattr(client, "run_job_flow", alive)
    service.add_scripts(JobScript(kind="Step", statuses=("InProgress", status)))
    running = driver(backend, tmp_path, OWN)
    if status == "Failed":
        with pytest.raises(StepFailed):
            running.run()
    else:
        running.run()
    assert cluster_state(service) == "TERMINATED"
    assert service.count("TerminateJobFlows") == 1


def test_stop_terminates_the_own_cluster(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    service.add_scripts(JobScript(kind="Step", seconds=3600, stop_seconds=0.1))
    running: list[StepDriver] = []

    def kill(job: object) -> None:
        running[0].killed = True

    running.append(driver(backend, tmp_path, OWN, on_job=kill))
    with pytest.raises(StepStopped):
        running[0].run()
    assert cluster_state(service) == "TERMINATED"
    assert not service.requests("CancelSteps")


def test_stop_terminates_a_cluster_before_its_step_is_listed(
    service: FaultyAws, backend: AwsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = backend.client("emr")
    arguments = {**CLUSTER, "Name": "one", "Steps": [{"Name": "one", **JAR}]}
    arguments["Instances"] = {**CLUSTER["Instances"], "KeepJobFlowAliveWhenNoSteps": False}
    client.run_job_flow(**arguments)
    monkeypatch.setattr(client, "list_steps", lambda **request: {"Steps": []})
    emr.STEP.request_stop(client, "own:j-OWN1/one")
    assert cluster_state(service) == "TERMINATED"


def test_second_stop_is_not_an_error(
    service: FaultyAws, backend: AwsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.add_scripts(JobScript(kind="Step", seconds=3600, stop_seconds=3600))
    client = backend.client("emr")
    (step,) = client.add_job_flow_steps(JobFlowId="j-1", Steps=[{"Name": "one", **JAR}])["StepIds"]
    emr.STEP.request_stop(client, f"j-1/{step}")
    refused = {"CancelStepsInfoList": [{"StepId": step, "Status": "FAILED", "Reason": "pending"}]}
    monkeypatch.setattr(client, "cancel_steps", lambda **request: refused)
    emr.STEP.request_stop(client, f"j-1/{step}")
    described = emr.STEP.find(client, f"j-1/{step}")
    assert described is not None
    assert emr.STEP.state(described) == "Executing", "the step is stopping, not given up"


def test_failed_step_leaves_a_shared_cluster_alone(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path
) -> None:
    reason = {"FailureReason": "Main class not found"}
    service.add_scripts(JobScript(kind="Step", statuses=("Failed",), members=reason))
    with pytest.raises(StepFailed, match="FAILED: Main class not found"):
        driver(backend, tmp_path, SHARED).run()
    (made,) = service.requests("AddJobFlowSteps")
    assert made.members["Steps"][0]["ActionOnFailure"] == "CONTINUE"
    assert not service.requests("TerminateJobFlows")


@pytest.mark.parametrize("arguments", [OWN, SHARED], ids=["own", "shared"])
def test_lost_answer_makes_no_second_job(
    arguments: dict[str, Any],
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Botocore does not repeat the request; the next try finds the cluster or step by its name."""
    for operation in ("RunJobFlow", "AddJobFlowSteps"):
        service.add_faults(FaultRule(fault="lose_answer", operation=operation, times=1))
    monkeypatch.setattr(drive, "PATIENCE", 10.0)
    outputs = driver(backend, tmp_path, arguments).run()
    assert len(service.resources("Step")) == 1
    assert outputs["job"]["name"].endswith(outputs["step_id"])


@pytest.mark.parametrize(
    ("arguments", "listing", "field"),
    [(OWN, "list_clusters", "Clusters"), (SHARED, "list_steps", "Steps")],
    ids=["own", "shared"],
)
def test_lagging_lists_make_no_second_job(
    arguments: dict[str, Any],
    listing: str,
    field: str,
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request is not sent again while the lists may not show what it has made."""
    for operation in ("RunJobFlow", "AddJobFlowSteps"):
        service.add_faults(FaultRule(fault="lose_answer", operation=operation, times=1))
    monkeypatch.setattr(drive, "PATIENCE", 10.0)
    monkeypatch.setattr(advance, "UNSEEN_FOR", timedelta(seconds=60))
    client = backend.client("emr")
    listed, calls = getattr(client, listing), iter(range(5))

    def lagging(**request: Any) -> Any:
        return {field: []} if next(calls, None) is not None else listed(**request)

    monkeypatch.setattr(client, listing, lagging)
    driver(backend, tmp_path, arguments).run()
    assert len(service.resources("Step")) == 1


def test_stop_of_an_execution_ends_a_cluster_that_was_not_recorded(
    service: FaultyAws, backend: AwsBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died after RunJobFlow: the record has only the name of the cluster."""
    service.add_scripts(JobScript(kind="Step", seconds=3600, stop_seconds=0.1))
    client = backend.client("emr")
    run = client.run_job_flow

    def die(**request: Any) -> Any:
        run(**request)
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "run_job_flow", die)
    monkeypatch.setattr(StepDriver, "interrupt", lambda driver, limit: None)
    with pytest.raises(KeyboardInterrupt):
        driver(backend, tmp_path, OWN).run()
    records = ExecutionRecords(Folder(tmp_path))
    Ending(records, EXECUTION.id, lambda attempt: backend).stop(patience=5.0)
    assert records.steps(EXECUTION.id)["Spark"].state == "Stopped"
    assert cluster_state(service) == "TERMINATED"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"StepConfig": JAR}, "expected either ClusterId or ClusterConfig"),
        ({**OWN, "ClusterId": "j-1"}, "expected either ClusterId or ClusterConfig"),
        ({**OWN, "ExecutionRoleArn": "arn"}, "ExecutionRoleArn is only valid with ClusterId"),
        (
            {"ClusterConfig": {**CLUSTER, "Name": "mine"}, "StepConfig": JAR},
            "the step sets ClusterConfig.Name itself",
        ),
    ],
)
def test_invalid_arguments_are_refused_before_any_call(
    arguments: dict[str, Any],
    problem: str,
    service: FaultyAws,
    backend: AwsBackend,
    tmp_path: Path,
) -> None:
    with pytest.raises(StepFailed, match=problem):
        driver(backend, tmp_path, arguments).run()
    assert not service.requests()
