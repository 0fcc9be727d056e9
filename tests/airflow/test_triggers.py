"""Dependencies with triggers as trigger rules and gates of a DAG."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from sagebridge import ended, failed, stopped
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import ConditionOperator, StepOperator, build
from sagebridge_operators.lifecycle.step_states import states, status
from tests.airflow.conftest import Run
from tests.fakes import FakeSageMaker
from tests.trigger_cases import CASES, TriggerCase

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
TASKS = {
    "Succeeded": "success",
    "Failed": "failed",
    "Stopped": "failed",
    "Skipped": "skipped",
    "NotRun": "upstream_failed",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps_run_by_their_triggers(case: TriggerCase, run: Run, aws: FakeSageMaker) -> None:
    aws.plans |= case.plans
    ran = run(*case.steps)
    pipeline = pipeline_of(ran.dag)

    assert states(pipeline, ran.steps) == case.expected
    assert status(pipeline, ran.steps).status == case.status
    tasks = {name: TASKS[state] for name, state in case.expected.items()}
    assert {name: ran.states[name] for name in tasks} == tasks
    assert ran.state == ("success" if case.status == "Succeeded" else "failed")


def rules(dag: DAG) -> dict[str, str]:
    return {task.task_id: str(task.trigger_rule.value) for task in dag.tasks}


def test_equal_triggers_are_a_trigger_rule() -> None:
    steps = CASES["handler"].steps + CASES["final-step"].steps[2:]

    assert rules(build(Pipeline(steps=steps), dag_id="d")) == {
        "One": "all_success",
        "Two": "all_success",
        "Alert": "all_failed",
        "Final": "all_done",
        "watch_failures": "one_failed",
    }


def test_mixed_triggers_are_gates_that_steps_share() -> None:
    steps = CASES["mixed"].steps
    dag = build(Pipeline(steps=steps), dag_id="d")

    assert dag.get_task("Rescue").upstream_task_ids == {"One", "Two__failed"}
    assert dag.get_task("Final").upstream_task_ids == {"Rescue__ended", "Two__failed"}
    assert rules(dag)["Two__failed"] == "all_done"
    assert rules(dag)["Rescue"] == rules(dag)["Final"] == "all_success"
    assert pipeline_of(dag).steps == steps


def test_steps_of_a_branch_have_gates() -> None:
    with DAG("d") as dag:
        inner = StepOperator(step_type="Model", task_id="Inner", depends_on=[failed("A")])
        gate: Any = ConditionOperator(task_id="G", conditions=[], if_steps=[inner], else_steps=[])
        StepOperator(step_type="Model", task_id="A")

    assert inner.upstream_task_ids == {"G", "A__failed"}
    assert gate.downstream_task_ids == {"Inner"}
    assert rules(dag)["Inner"] == "all_success"


def test_gates_have_legal_ids() -> None:
    with DAG("d") as dag:
        first = StepOperator(step_type="Model", task_id="A" * 250)
        StepOperator(step_type="Model", task_id="B__stopped")
        other = StepOperator(step_type="Model", task_id="B")
        StepOperator(step_type="Model", task_id="C", depends_on=[stopped(first), stopped(other)])

    gates = [one for one in dag.task_ids if one not in ("A" * 250, "B", "B__stopped", "C")]
    assert len(gates) == 2
    assert all(len(one) <= 250 for one in gates)


def test_conflicting_triggers_are_gates() -> None:
    with DAG("d"):
        first = StepOperator(step_type="Model", task_id="A")
        last = StepOperator(step_type="Model", task_id="B", depends_on=[first, failed(first)])

    assert last.upstream_task_ids == {"A", "A__failed"}


def test_own_trigger_rules_stay() -> None:
    with DAG("d") as dag:
        first = StepOperator(step_type="Model", task_id="A")
        last = StepOperator(
            step_type="Model",
            task_id="B",
            depends_on=[stopped(first), ended("A")],
            trigger_rule="one_done",
        )

    assert last.upstream_task_ids == {"A"}
    assert rules(dag)["B"] == "one_done"
