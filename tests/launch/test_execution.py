"""What becomes of an execution and its jobs when its Airflow has ended, or is ended."""

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
STEPS: list[dict[str, Any]] = [
    {"Name": name, "Type": "Processing", "Arguments": {}} for name in ("One", "Two")
]


class EndedAirflow:
    """An Airflow that runs no more; ``dying`` happens while it is killed."""

    running = False
    title = "Airflow"
    dag_id = run_id = "p"

    def __init__(self, dying: Callable[[], object] = lambda: None, **tasks: str) -> None:
        self.kill = dying
        self.api = self
        self.tasks = {
            name: {"task_id": name, "state": state, "start_date": None, "end_date": None}
            for name, state in tasks.items()
        }

    def failure(self, task: str) -> str:
        return f"the worker of {task} was lost"

    def patiently(self, ask: Callable[[], Any]) -> Any:
        return ask()

    def task_instances(self, dag: str, run: str) -> dict[str, Any]:
        del dag, run
        return self.tasks

    def __enter__(self) -> None:
        raise KeyboardInterrupt("stopped by SIGINT")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def execution(tmp_path: Path, backend: FakeBackend) -> AirflowExecution:
    place = Workdir("local", tmp_path, tmp_path, str(tmp_path / "executions"))
    vars(place)["backend"] = backend
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": STEPS}, name="p").pipeline
    return AirflowExecution(pipeline, {}, place)


def record(execution: AirflowExecution, name: str, state: State, **more: Any) -> Attempt:
    attempt = attempt_of(execution.id, name, "Processing", state, **more)
    return execution.place.records.save(attempt)


@pytest.mark.parametrize(("asked", "status"), [(False, "Failed"), (True, "Stopped")])
def test_a_failed_execution_is_stopped_only_where_a_stop_was_asked_for(
    asked: bool, status: str, execution: AirflowExecution
) -> None:
    execution.airflow = EndedAirflow()  # type: ignore[assignment]
    record(execution, "One", "Failed", reason="no disk")
    record(execution, "Two", "Stopped", reason="longer than MaxRuntimeInSeconds")
    if asked:
        execution.place.records.request_stop(execution.id)

    found = execution.finish()

    assert found.status == status
    assert ("no disk" in found.reason) is not asked


def start(execution: AirflowExecution, backend: FakeBackend) -> None:
    """The job of the step One runs, as its record says."""
    backend.sagemaker.plans["One"] = Plan(("InProgress",))
    backend.sagemaker.create_processing_job(
        ProcessingJobName="One",
        ProcessingResources={"ClusterConfig": CLUSTER},
        AppSpecification={"ImageUri": "image"},
        RoleArn="arn:aws:iam::111122223333:role/r",
    )
    record(execution, "One", "Executing", job="One")


def test_a_job_whose_workers_were_lost_too_often_is_stopped(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    start(execution, backend)
    record(execution, "Two", "Succeeded")
    airflow: Any = EndedAirflow(One="failed", Two="success")
    execution.airflow = airflow

    found = execution.finish()

    assert backend.sagemaker.jobs["One"].stops == 1
    assert found == ("Failed", "step 'One' failed: the worker of One was lost")
    assert execution.place.records.steps(execution.id)["One"].state == "Failed"


def test_a_worker_that_still_stops_its_job_when_the_run_has_ended_is_awaited(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    """As where a person marks the task as failed just then."""
    start(execution, backend)
    record(execution, "Two", "Succeeded")
    records = execution.place.records
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


def test_a_run_that_is_stopped_before_any_step_is_stopped(execution: AirflowExecution) -> None:
    airflow: Any = EndedAirflow()
    execution.airflow = airflow
    execution.place.records.request_stop(execution.id)

    assert execution.finish().status == "Stopped"


def test_a_job_that_a_worker_started_at_the_last_moment_is_stopped(
    execution: AirflowExecution, backend: FakeBackend
) -> None:
    dying = partial(start, execution, backend)
    execution.airflow = EndedAirflow(dying)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt), execution:
        pass

    assert backend.sagemaker.jobs["One"].stops == 1
    assert execution.place.records.steps(execution.id)["One"].state == "Stopped"
    assert (execution.place.records.end(execution.id) or {})["status"] == "Stopped"
