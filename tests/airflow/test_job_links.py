"""The links of a task in Airflow's UI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagebridge_operators.airflow.step_operators import OPERATORS
from sagebridge_operators.provider_info import get_provider_info
from tests.airflow.conftest import Run
from tests.fakes import FakeBackend, FakeSageMaker, Plan
from tests.shapes import model, training

pytestmark = pytest.mark.airflow
NAMES = {
    "SageMaker console": "_link_ConsoleLink",
    "CloudWatch log": "_link_LogLink",
    "S3 output": "_link_OutputLink",
}


def declared(played: Any) -> dict[str, dict[str, str]]:
    """The links of each task in the serialized DAG, which the UI reads: XCom key by link name."""
    query = "select data from serialized_dag where dag_id = ?"
    ((data,),) = played.select(query, played.dag.dag_id)
    tasks = [one["__var"] for one in json.loads(data)["dag"]["tasks"]]
    return {one["task_id"]: one.get("_operator_extra_links", {}) for one in tasks}


@pytest.mark.airflow31
def test_links_of_succeeded_and_failed_tasks(
    run: Run, backend: FakeBackend, aws: FakeSageMaker
) -> None:
    backend.name = "aws"
    aws.plans["Bad"] = Plan(("InProgress", "Failed"))
    played = run(training("Good"), training("Bad"), model("Use"))
    assert played.states == {"Good": "success", "Bad": "failed", "Use": "success"}
    console = {"SageMaker console": NAMES["SageMaker console"]}
    assert declared(played) == {"Good": NAMES, "Bad": NAMES, "Use": console}
    for task in ("Good", "Bad"):
        job = next(name for name in aws.jobs if task in name)
        assert f"#/jobs/{job}" in played.xcom(task, NAMES["SageMaker console"])
        assert f"TrainingJobs$3FlogStreamNameFilter$3D{job}" in played.xcom(
            task, NAMES["CloudWatch log"]
        )
        assert f"{job}%2F" in played.xcom(task, NAMES["S3 output"])
    assert "#/models/" in played.xcom("Use", NAMES["SageMaker console"])


def test_local_jobs_have_no_links(run: Run) -> None:
    played = run(training("A"))
    assert [played.xcom("A", key) for key in NAMES.values()] == [None, None, None]


def test_links_are_in_the_provider_info() -> None:
    classes = {
        f"{type(link).__module__}.{type(link).__name__}"
        for operator in OPERATORS.values()
        for link in operator.operator_extra_links
    }
    assert classes == set(get_provider_info()["extra-links"])  # type: ignore[call-overload]
