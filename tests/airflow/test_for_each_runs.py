"""ForEach steps in a running Airflow: the limit of iterations, one that fails, users' clears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import KilledAirflow, eventually
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 4.0
"""How long each job takes."""
DAG_FILE = """
from airflow.sdk import DAG, Param
from sagebridge_operators.airflow import *

ARGUMENTS = {arguments}


def arguments(seconds, name="job"):
    limit = {{"MaxRuntimeInSeconds": seconds}}
    return {{**ARGUMENTS, "StoppingCondition": limit, "TrainingJobName": name}}


with DAG(
    {dag!r},
    schedule=None,
    params={{"Items": Param({items!r}, type="string")}},
    default_args={{"deferrable": {deferrable}}},
):
    with ForEachOperator(
        task_id="Fan",
        items=parameter("Items"),
        max_concurrency=2,
        selector=max_by(iteration_output.Eval.StoppingCondition.MaxRuntimeInSeconds),
    ) as fan:
        score = TrainingOperator(
            task_id="Score", arguments=arguments(current_item.seconds, current_item.name)
        )
        TrainingOperator(
            task_id="Eval",
            arguments=arguments(score.properties.StoppingCondition.MaxRuntimeInSeconds),
        )
    for task_id, iteration in (("Last", fan.properties.IterationOutputs[1].Score),
                               ("Best", fan.properties.Selected)):
        TrainingOperator(
            task_id=task_id, arguments=arguments(iteration.StoppingCondition.MaxRuntimeInSeconds)
        )
"""


def dag_file(dag: str, seconds: list[int], bad: int | None = None, *, deferrable: bool) -> str:
    items = [
        {"name": "bad" if position == bad else "good", "seconds": one}
        for position, one in enumerate(seconds)
    ]
    given = {"items": json.dumps(items), "deferrable": deferrable}
    return DAG_FILE.format(dag=dag, arguments=repr(ARGUMENTS["Training"]), **given)


DAGS = {
    "loop-deferred": dag_file("loop-deferred", [60, 90, 90], deferrable=True),
    "loop-waiting": dag_file("loop-waiting", [61, 91, 81, 71], 2, deferrable=False),
}


@pytest.fixture(scope="module")
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        server.add_scripts(
            JobScript(seconds=SECONDS),
            JobScript(name="bad-*", statuses=("Failed",), members={"FailureReason": "no data"}),
        )
        yield server


class LoopingAirflow(KilledAirflow):
    """An Airflow with the DAGs of this module; the id of a run is that of its DAG."""

    def states(self, dag: str) -> dict[tuple[str, int], str]:
        found = eventually(lambda: self.api.task_instances(dag, dag), f"tasks of {dag}")
        return {key: task["state"] for key, task in found.items()}

    def ended(self, dag: str) -> str:
        def final() -> str:
            state = self.api.run_state(dag, dag)
            return state if state in ("success", "failed") else ""

        return eventually(final, f"{dag} ends", 400)

    def outputs(self, dag: str, task: str) -> Any:
        path = f"/api/v2/dags/{dag}/dagRuns/{dag}/taskInstances/{task}/xcomEntries/return_value"
        return self.api._request("GET", path)["value"]

    def clear(self, dag: str, *tasks: Any) -> None:
        body = {
            "dag_run_id": dag,
            "task_ids": list(tasks),
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        path = f"/api/v2/dags/{dag}/clearTaskInstances"
        eventually(lambda: self.api._request("POST", path, body) or True, path)


@pytest.fixture(scope="module")
def airflow(aws: FaultyAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopingAirflow]:
    folder = tmp_path_factory.mktemp("loops")
    started = LoopingAirflow(folder, aws, deferred=True, dags=DAGS)
    with started:
        for dag in DAGS:
            started.trigger_other(dag, dag)
        yield started


def created(aws: FaultyAws, airflow: LoopingAirflow, dag: str) -> list[Any]:
    """The create requests of a run, by time."""
    (execution,) = (
        one
        for one in airflow.records.ids()
        if (airflow.records.execution(one) or {})["run"] == f"{dag}/{dag}"
    )
    return [one for one in aws.requests("CreateTrainingJob", f"*-{execution}-*") if one.done]


def most_at_a_time(requests: list[Any]) -> int:
    starts: list[float] = [one.time for one in requests]
    return max(sum(one <= moment < one + SECONDS for one in starts) for moment in starts)


def test_the_limit_holds_for_deferred_iterations(airflow: LoopingAirflow, aws: FaultyAws) -> None:
    assert airflow.ended("loop-deferred") == "success"
    jobs = created(aws, airflow, "loop-deferred")
    assert len(jobs) == 3 * 2 + 2
    assert most_at_a_time(jobs[:6]) == 2
    outputs = airflow.outputs("loop-deferred", "Fan")
    assert "'selected': {'step': 'Eval', 'index': 1}" in str(outputs)
    states = airflow.states("loop-deferred")
    assert states["Eval", 2] == states["Last", -1] == "success"


def test_a_failed_iteration_is_repeated_alone(airflow: LoopingAirflow, aws: FaultyAws) -> None:
    assert airflow.ended("loop-waiting") == "failed"
    states = airflow.states("loop-waiting")
    assert states["Score", 2] == "failed"
    assert states["Eval", 2] == states["Last", -1] == "upstream_failed"
    assert states["Eval", 3] == "success"
    jobs = created(aws, airflow, "loop-waiting")
    assert len(jobs) == 4 + 3
    assert most_at_a_time(jobs) == 2

    aws.add_scripts(JobScript(seconds=0.1))
    airflow.clear("loop-waiting", ["Score", 2])
    assert airflow.ended("loop-waiting") == "success"
    assert len(created(aws, airflow, "loop-waiting")) == len(jobs) + 4
