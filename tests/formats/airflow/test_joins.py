"""Tasks that join branches: a step is skipped with each branch that it depends on."""

from __future__ import annotations

import json

import pytest

import sagebridge
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.functions import NOTHING
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


def conditions(found: FileReading) -> dict[str, list[str]]:
    """By Condition of the SageMaker pipeline: the names of the steps in its branch."""
    steps = json.loads(sagebridge.write(found.pipeline, "sagemaker").text)["Steps"]
    return {
        step["Name"]: [one["Name"] for one in step["Arguments"]["IfSteps"]]
        for step in steps
        if step["Type"] == "Condition"
    }


def sagemaker_losses(found: FileReading, code: str) -> list[Loss]:
    losses = sagebridge.write(found.pipeline, "sagemaker").losses
    return [one for one in losses if one.code == code]


@pytest.mark.parametrize("rule", RULES)
def test_join_after_a_python_branch_keeps_its_rule(rule: str, dags: dict[str, FileReading]) -> None:
    found = dags[f"join_{rule}"]
    pick, join = found.pipeline.step("pick"), found.pipeline.step("join")
    assert isinstance(pick, PythonStep)
    assert join is not None
    assert (pick.role, join.engine.trigger_rule) == ("branch", rule)
    assert join.dependencies == ("left", "right")
    assert found.losses == ()
    assert conditions(found) == {"pick-left": ["left"], "pick-right": ["right"]}
    assert [one.severity for one in sagemaker_losses(found, "branch-callable")] == ["changed"]
    (lost,) = sagemaker_losses(found, "trigger-rule")
    assert (lost.severity, lost.step) == ("dropped", "join")


def test_join_without_a_job_is_a_step_of_the_engines_only(dags: dict[str, FileReading]) -> None:
    found = dags["empty_join"]
    joined = found.pipeline.step("joined")
    assert isinstance(joined, PythonStep)
    assert joined.function == NOTHING
    assert joined.engine.trigger_rule == "none_failed_min_one_success"
    (lost,) = sagemaker_losses(found, "empty-task")
    assert (lost.severity, lost.step) == ("info", "joined")


def test_gate_puts_its_dependants_into_one_condition(dags: dict[str, FileReading]) -> None:
    for name, role in (("short_circuit", "gate"), ("respectful_short_circuit", "direct_gate")):
        gate = dags[name].pipeline.step("gate")
        assert isinstance(gate, PythonStep)
        assert gate.role == role
        assert conditions(dags[name]) == {"gate": ["inside", "join"]}


def dependencies(found: FileReading) -> dict[str, list[tuple[str, str]]]:
    steps = walk(found.pipeline)
    return {step.name: list(step.triggers) for step in steps if step.type == "Model"}


def test_trigger_rules_become_triggers(dags: dict[str, FileReading]) -> None:
    found = dags["triggers"]
    read = sagebridge.read(sagebridge.write(found.pipeline, "sagemaker").text).pipeline
    models = [step for step in walk(read) if step.type == "Model"]

    assert {step.name: list(step.triggers) for step in models} == {
        "first": [],
        "second": [],
        "handler": [("first", "Failed")],
        "done": [("first", "Any")],
        "both": [("first", "Failed"), ("second", "Failed")],
        "final": [("first", "Any"), ("second", "Any")],
        "later": [("first", "Any"), ("second", "Any")],
        "inside": [],
        "cut": [("inside", "Any")],
    }
    lost = {one.step: one.severity for one in sagemaker_losses(found, "trigger-rule")}
    assert lost == {"unclear": "dropped", "skips": "dropped"}


def test_step_after_any_end_of_branches_is_outside(dags: dict[str, FileReading]) -> None:
    found = dags["branch_end"]

    assert dependencies(found)["end"] == [("left", "Any"), ("right", "Any")]
    assert found.pipeline.steps[-1].name == "end"
    assert [one for one in found.losses if one.code == "trigger-rule"] == []


def test_own_trigger_rule_of_an_operator_becomes_a_trigger(dags: dict[str, FileReading]) -> None:
    assert dependencies(dags["own_rule"])["B"] == [("A", "Any")]
