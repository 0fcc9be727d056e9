"""The end of an execution on Airflow, and of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge_operators.launch.airflow_execution import AirflowExecution
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import Attempt, State
from tests.attempts import attempt_of
from tests.fakes import FakeBackend, Plan

CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
REQUEST = {
    "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["true"]},
    "ProcessingResources": {"ClusterConfig": CLUSTER},
}
STEPS: list[dict[str, Any]] = [
    {"Name": name, "Type": "Processing", "Arguments": REQUEST} for name in ("One", "Two")
]


class EndedAirflow:
    """An Airflow that has ended; ``on_kill`` is called by ``kill``."""

    running = False
    title = "Airflow"
    dag_id = run_id = "p"

    def __init__(self, on_kill: Callable[[], object] = lambda: None, **tasks: str) -> None:
        self.kill = on_kill
        self.api = self
        self.tasks = {
            (name, -1): {"task_id": name, "state": state, "start_date": None, "end_date": None}
            for name, state in tasks.items()
        }

    def failure(self, task: str, index: int = -1) -> str:
        del index
        return f"the worker of {task} was lost"

    def patiently(self, ask: Callable[[], Any]) -> Any:
        return ask()

    def task_instances(self, dag: str, run: str) -> dict[tuple[str, int], Any]:
        del dag, run
        return self.tasks

    def __enter__(self) -> None:
        raise KeyboardInterrupt("stopped by SIGINT")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def execution(tmp_path: Path, backend: FakeBackend) -> AirflowExecution:
    workdir = Workdir("local", tmp_path, tmp_path, str(tmp_path / "executions"))
    vars(workdir)["backend"] = backend
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": STEPS}, name="p").pipeline
    return AirflowExecution(pipeline, {}, workdir)


def record(execution: AirflowExecution, name: str, state: State, **more: Any) -> Attempt:
    attempt = attempt_of(execution.id, name, "Processing", state, **more)
    return execution.workdir.records.save(attempt)


@pytest.mark.parametrize(("stop_requested", "status"), [(False, "Failed"), (True, "Stopped")])
def test_failed_execution_is_stopped_only_on_request(
    stop_requested: bool, status: str, execution: AirflowExecution
) -> None:
    execution.airflow = EndedAirflow()  # type: ignore[assignment]
    record(execution, "One", "Failed", reason="no disk")
    record(execution, "Two", "Stopped", reason="longer than MaxRuntimeInSeconds")
    if stop_requested:
        execution.workdir.records.request_stop(execution.id)

    found = execution.finish()

    assert found.status == status
    assert ("no disk" in found.reason) is not stop_requested


def start(execution: AirflowExecution, backend: FakeBackend) -> None:
    """Start the job of step One, and record it."""
    backend.sagemaker.plans["One"] = Plan(("InProgress",))
    backend.sagemaker.create_processing_job(
        ProcessingJobName="One",
        ProcessingResources={"ClusterConfig": CLUSTER},
        AppSpecification={"ImageUri": "image"},
        RoleArn="arn:aws:iam::111122223333:role/r",
    )
    record(execution, "One", "Executing", job="One")


def test_job_is_stopped_after_too_many_lost_workers(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    start(execution, backend)
    record(execution, "Two", "Succeeded")
    airflow: Any = EndedAirflow(One="failed", Two="success")
    execution.airflow = airflow

    found = execution.finish()

    assert backend.sagemaker.jobs["One"].stops == 1
    assert found == ("Failed", "step 'One' failed: the worker of One was lost")
    assert execution.workdir.records.steps(execution.id)["One"].state == "Failed"


def test_finish_waits_for_worker_stopping_its_job(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    """For example, if you mark the task as failed at that moment."""
    start(execution, backend)
    record(execution, "Two", "Succeeded")
    records = execution.workdir.records
    attempt = records.steps(execution.id)["One"]
    stopped = attempt.with_failure("stopped", "it was stopped", state="Stopped")
    airflow: Any = EndedAirflow(One="failed")
    execution.airflow = airflow

    def ends() -> None:
        records.save(stopped)

    with records.attend(attempt):
        backend.sagemaker.before["stop_processing_job"] = [ends]
        execution.finish()

    assert records.steps(execution.id)["One"].reason == "it was stopped"


def test_run_stopped_before_first_step(execution: AirflowExecution) -> None:
    airflow: Any = EndedAirflow()
    execution.airflow = airflow
    execution.workdir.records.request_stop(execution.id)

    assert execution.finish().status == "Stopped"


def test_job_started_during_kill_is_stopped(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    on_kill = partial(start, execution, backend)
    execution.airflow = EndedAirflow(on_kill)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt), execution:
        pass

    assert backend.sagemaker.jobs["One"].stops == 1
    assert execution.workdir.records.steps(execution.id)["One"].state == "Stopped"
    assert (execution.workdir.records.end(execution.id) or {})["status"] == "Stopped"
