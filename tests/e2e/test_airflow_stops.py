"""Stops in Airflow on the fake AWS, with deferred steps: no job keeps running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagebridge_operators.lifecycle.attempt import Attempt
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import DAG, KilledAirflow, eventually

pytestmark = pytest.mark.slow
RUN = f"/api/v2/dags/{DAG}/dagRuns"
SWEEP = '''"""An airflow dag that stops lost jobs."""
from airflow.sdk import DAG
from sagebridge_operators.airflow import SweepOperator

with DAG("sweep", schedule=None):
    SweepOperator(task_id="sweep", retries=0)
'''


@pytest.fixture(scope="module")
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as aws:
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        yield aws


@pytest.fixture(scope="module")
def airflow(aws: FaultyAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledAirflow]:
    folder: Path = tmp_path_factory.mktemp("stops")
    airflow = KilledAirflow(folder, aws, deferred=True, dags={"sweep": SWEEP})
    with airflow:
        yield airflow


def deferred(airflow: KilledAirflow, *runs: str) -> None:
    """Starts runs whose steps are deferred and whose jobs never end."""
    for run in runs:
        airflow.start(run)
    for run in runs:
        eventually(lambda run=run: airflow.task(run)["state"] == "deferred", "deferred")  # type: ignore[misc]


def mark(airflow: KilledAirflow, path: str, body: dict[str, Any]) -> None:
    def ask() -> bool:
        airflow.api._request("PATCH", f"{RUN}/{path}", body)
        return True

    eventually(ask, f"{path} is marked")  # a busy SQLite answers 500


def step(airflow: KilledAirflow, run: str) -> Attempt:
    (attempt,) = airflow.attempts(run)
    return attempt


def status(aws: FaultyAws, attempt: Attempt) -> str:
    name = attempt.parts[-1].name
    found = aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    return str(found["TrainingJobStatus"])


def stopped(aws: FaultyAws, attempt: Attempt) -> bool:
    return status(aws, attempt) == "Stopped"


def test_marked_tasks_and_runs_leave_no_job(airflow: KilledAirflow, aws: FaultyAws) -> None:
    """The triggerer stops the jobs of deferred tasks."""
    runs = ("task-failed", "task-success", "run-failed")
    deferred(airflow, *runs)
    # Nothing stops the job of a task that is marked before its trigger has started.
    aws.clear_requests()
    for run in runs:
        name = step(airflow, run).parts[-1].name
        eventually(lambda name=name: aws.requests("DescribeTrainingJob", name), f"{run} is watched")  # type: ignore[misc]

    mark(airflow, "task-failed/taskInstances/Train", {"new_state": "failed"})
    mark(airflow, "task-success/taskInstances/Train", {"new_state": "success"})
    mark(airflow, "run-failed", {"state": "failed"})

    for run in runs:
        eventually(lambda run=run: stopped(aws, step(airflow, run)), f"{run} is stopped")  # type: ignore[misc]


def test_sweep_reaches_tasks_without_a_triggerer(airflow: KilledAirflow, aws: FaultyAws) -> None:
    """It stops neither the job of a deferred task nor that of another run."""
    runs = ("no-triggerer", "no-triggerer-run", "watched")
    deferred(airflow, *runs)
    airflow.kill_service("triggerer")
    mark(airflow, "no-triggerer/taskInstances/Train", {"new_state": "failed"})
    mark(airflow, "no-triggerer-run", {"state": "success"})
    time.sleep(3)
    assert [status(aws, step(airflow, run)) for run in runs] == ["InProgress"] * 3

    airflow.trigger_other("sweep", "now")

    for run in runs[:2]:
        eventually(lambda run=run: stopped(aws, step(airflow, run)), f"{run} is stopped")  # type: ignore[misc]
        eventually(lambda run=run: step(airflow, run).state == "Stopped", "its record")  # type: ignore[misc]
    assert status(aws, step(airflow, "watched")) == "InProgress"
    assert step(airflow, "watched").running
    airflow.restart("triggerer")
