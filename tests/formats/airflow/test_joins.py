"""Tasks that join branches: a step is skipped with each branch that it depends on."""

from __future__ import annotations

import pytest

import sagebridge
from sagebridge.assessment import grade
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import walk
from tests.formats.airflow.conftest import ReadAll

pytestmark = pytest.mark.airflow

RULES = (
    "all_done_min_one_success",
    "none_failed",
    "none_failed_min_one_success",
    "one_done",
    "one_success",
)
DAGS = (
    f"RULES = {RULES}"
    """
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, task
from sagebridge_operators.airflow import ModelOperator


def model(task_id, **more):
    config = {
        "ExecutionRoleArn": "arn:aws:iam::210987654321:role/serving",
        "PrimaryContainer": {"Image": "scorer:3", "ModelDataUrl": "s3://models/scorer.tar.gz"},
    }
    return SageMakerModelOperator(task_id=task_id, config=config, **more)


def choose():
    return "left"


for rule in RULES:
    with DAG(f"join_{rule}"):
        pick = BranchPythonOperator(task_id="pick", python_callable=choose)
        pick >> [model("left"), model("right")] >> model("join", trigger_rule=rule)

with DAG("triggers"):
    first, second = model("first"), model("second")
    none = EmptyOperator(task_id="none")
    [first, second] >> none
    gate = ShortCircuitOperator(task_id="gate", python_callable=choose)
    first >> [model("handler", trigger_rule="one_failed"), model("done", trigger_rule="all_done")]
    [first, second] >> model("both", trigger_rule="all_failed")
    none >> [model("final", trigger_rule="all_done"), model("unclear", trigger_rule="all_failed")]
    [first, second] >> EmptyOperator(task_id="joined", trigger_rule="all_done") >> model("later")
    gate >> model("inside") >> model("cut", trigger_rule="all_done")
    first >> model("skips", trigger_rule="all_skipped")

with DAG("branch_end"):
    pick = BranchPythonOperator(task_id="pick", python_callable=choose)
    pick >> [model("left"), model("right")] >> model("end", trigger_rule="all_done")

with DAG("own_rule"):
    ModelOperator(task_id="A", arguments={})
    ModelOperator(task_id="B", arguments={}, depends_on=["A"], trigger_rule="all_done")

with DAG("empty_join"):

    @task.branch
    def pick():
        return "left"

    joined = EmptyOperator(task_id="joined", trigger_rule="none_failed_min_one_success")
    pick() >> [model("left"), model("right")] >> joined >> model("after")

with DAG("skipping_ahead"):
    pick = BranchPythonOperator(task_id="pick", python_callable=choose)
    work, last = model("work"), model("last", trigger_rule="none_failed")
    pick >> [work, last]
    work >> last

with DAG("one_branch"):
    pick = BranchPythonOperator(task_id="pick", python_callable=choose)
    left = model("left")
    pick >> [left, model("right")]
    left >> [model("a"), model("b")] >> model("join", trigger_rule="one_success")

with DAG("chosen"):
    pick = BranchPythonOperator(task_id="pick", python_callable=choose)
    pick >> [model("left", trigger_rule="none_failed"), model("right")]

with DAG("short_circuit"):
    gate = ShortCircuitOperator(task_id="gate", python_callable=choose)
    [gate >> model("inside"), model("other")] >> model("join", trigger_rule="none_failed")

with DAG("respectful_short_circuit"):
    gate = ShortCircuitOperator(
        task_id="gate", python_callable=choose, ignore_downstream_trigger_rules=False
    )
    [gate >> model("inside"), model("other")] >> model("join", trigger_rule="none_failed")
"""
)


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(DAGS)


def rule_loss(found: FileReading) -> Loss:
    (lost,) = [one for one in found.losses if one.code == "trigger-rule"]
    return lost


@pytest.mark.parametrize("rule", RULES)
def test_join_after_a_python_branch_needs_manual_work(
    rule: str, dags: dict[str, FileReading]
) -> None:
    found = dags[f"join_{rule}"]
    lost = rule_loss(found)
    assert lost.severity == "dropped"
    assert lost.what.startswith(f"task join: trigger rule {rule} becomes all_success; ")
    assert "run only if the branches of 'pick-left', 'pick-right' are all taken" in lost.what
    assert "copy it into each branch" in lost.advice
    for target in ("sagemaker", "prefect"):
        losses = (*found.losses, *sagebridge.write(found.pipeline, target).losses)
        assert grade(losses) == "needs manual work"


def test_join_without_a_step_is_reported_for_the_steps_after_it(
    dags: dict[str, FileReading],
) -> None:
    lost = rule_loss(dags["empty_join"])
    assert (lost.severity, lost.what.split(":")[0]) == ("dropped", "task joined")
    assert "and those after it run only if the branches" in lost.what


def test_task_that_a_branch_may_skip_to_is_reported(dags: dict[str, FileReading]) -> None:
    lost = rule_loss(dags["skipping_ahead"])
    assert lost.severity == "dropped"
    assert "'pick-last', 'pick-work'" in lost.what


@pytest.mark.parametrize("dag", ["one_branch", "chosen", "short_circuit"])
def test_join_that_airflow_skips_with_its_branch_is_only_changed(
    dag: str, dags: dict[str, FileReading]
) -> None:
    lost = rule_loss(dags[dag])
    assert lost.severity == "changed"
    assert "only if" not in lost.what


def test_short_circuit_that_respects_trigger_rules_is_reported(
    dags: dict[str, FileReading],
) -> None:
    lost = rule_loss(dags["respectful_short_circuit"])
    assert lost.severity == "dropped"
    assert "the branches of 'gate'" in lost.what


def dependencies(found: FileReading) -> dict[str, list[tuple[str, str]]]:
    steps = walk(found.pipeline)
    return {step.name: list(step.triggers) for step in steps if step.type == "Model"}


def test_trigger_rules_become_triggers(dags: dict[str, FileReading]) -> None:
    found = dags["triggers"]

    assert dependencies(found) == {
        "first": [],
        "second": [],
        "handler": [("first", "Failed")],
        "done": [("first", "Any")],
        "both": [("first", "Failed"), ("second", "Failed")],
        "final": [("first", "Any"), ("second", "Any")],
        "later": [("first", "Any"), ("second", "Any")],
        "inside": [],
        "cut": [("inside", "Completed")],
    }
    lost = {
        one.what.split(":")[0]: one.severity for one in found.losses if one.code == "trigger-rule"
    }
    rules = [one for one in found.losses if one.code == "trigger-rule"]
    lost = {one.what.split(":")[0]: one.severity for one in rules}
    assert lost == {"task unclear": "dropped", "task skips": "dropped", "task cut": "changed"}


def test_step_after_any_end_of_branches_is_outside(dags: dict[str, FileReading]) -> None:
    found = dags["branch_end"]

    assert dependencies(found)["end"] == [("left", "Any"), ("right", "Any")]
    assert found.pipeline.steps[-1].name == "end"
    assert [one for one in found.losses if one.code == "trigger-rule"] == []


def test_own_trigger_rule_of_an_operator_becomes_a_trigger(dags: dict[str, FileReading]) -> None:
    assert dependencies(dags["own_rule"])["B"] == [("A", "Any")]
