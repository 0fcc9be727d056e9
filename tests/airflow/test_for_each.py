"""ForEach steps as mapped task groups, in dag.test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sagebridge import stopped
from sagebridge.model.conditions import equals
from sagebridge.model.expressions import current_item, get, parameter, plain
from sagebridge.model.for_each import ForEachStep, max_by
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import status
from tests.airflow.conftest import Run
from tests.fakes import FakeBackend, FakeSageMaker, Plan
from tests.lifecycle.conftest import ARGUMENTS
from tests.lifecycle.test_for_each import SECONDS, seconds_of, training

SCORE = training("Score", get("ForEach.CurrentItem"))
EVAL = training("Eval", get(f"Steps.Score.{SECONDS}"))
LAST = training("Last", get(f"Steps.Fan.IterationOutputs[1].Eval.{SECONDS}"))
BEST = training("Best", get(f"Steps.Fan.Selected.{SECONDS}"))
FAN = ForEachStep(
    "Fan",
    items=parameter("Items"),
    max_concurrency=2,
    selector=max_by(get(f"IterationOutput.Eval.{SECONDS}")),
    body=(SCORE, EVAL),
)


def pipeline(*steps: Step, items: str = "[60, 90, 80]") -> Pipeline:
    return Pipeline(steps=steps, parameters=(Parameter("Items", "String", items),), name="loop")


def test_a_loop_over_a_parameter(run: Run, aws: FakeSageMaker) -> None:
    done = run(pipeline(FAN, LAST, BEST))
    assert done.state == "success"
    created = seconds_of(aws)
    assert sorted(created[:6]) == [60, 60, 80, 80, 90, 90]
    assert sorted(created[6:]) == [90, 90]
    assert len({one["TrainingJobName"] for one in aws.called("create_training_job")}) == 8
    assert done.indexes["Score", 2] == done.indexes["Eval", 0] == "success"
    assert done.xcom("Fan")["selected"] == {"step": "Eval", "index": 1}


def test_items_from_a_step_and_an_iteration_that_fails(run: Run, aws: FakeSageMaker) -> None:
    source = training("List", 60)
    fan = replace(FAN, items=get("Steps.List.HyperParameters['items']"), selector=ABSENT)
    aws.plans["List"] = Plan(ending={"HyperParameters": {"items": "[61, 62]"}})
    aws.plans["Score"] = Plan(ending={"FailureReason": "boom"}, states=("Failed",))
    done = run(pipeline(source, fan, LAST))
    assert done.state == "failed"
    assert sorted(seconds_of(aws)) == [60, 61, 62]  # in any order
    assert done.indexes["Fan", -1] == "failed"
    assert done.indexes["Eval", 1] == done.indexes["Last", -1] == "upstream_failed"
    assert "2 of 2 iterations did not succeed: Score-0: " in done.xcom("Fan", "failure_reason")
    assert done.xcom("Fan")["failed_step_count"] == 2
    assert status(pipeline(source, fan, LAST), done.steps).status == "Failed"


def test_triggers_see_their_iteration(run: Run, aws: FakeSageMaker) -> None:
    named = {**ARGUMENTS["Training"], "TrainingJobName": get("ForEach.CurrentItem")}
    score = replace(SCORE, arguments=plain(named))
    halted = replace(training("Halted", 60), depends_on=(stopped("Score"),))
    fan = replace(FAN, selector=ABSENT, body=(score, halted))
    aws.plans |= {"bad-": Plan(states=("Failed",)), "halt-": Plan(states=("Stopped",))}
    done = run(pipeline(fan, items='["bad", "halt"]'))
    assert [done.indexes["Halted", index] for index in (0, 1)] == ["skipped", "success"]


def test_an_empty_list(run: Run, aws: FakeSageMaker) -> None:
    after = replace(training("After", 60), depends_on=("Fan",))
    done = run(pipeline(FAN, after, items="[]"))
    assert done.state == "success"
    assert seconds_of(aws) == [60]
    assert done.states == {
        "Fan_items": "success",
        "Score": "skipped",
        "Eval": "skipped",
        "Fan": "success",
        "After": "success",
    }


def test_a_skipped_loop(run: Run, aws: FakeSageMaker) -> None:
    check = ConditionStep("Check", conditions=(equals(1, 2),), if_steps=(FAN,))
    done = run(pipeline(check, LAST))
    assert done.state == "success"
    assert not aws.called("create")
    assert {done.states[name] for name in ("Fan_items", "Score", "Fan", "Last")} == {"skipped"}


def test_a_loop_after_a_failed_step(run: Run, aws: FakeSageMaker) -> None:
    """The body never runs, although the last task of the loop runs after a failure."""
    aws.plans["List"] = Plan(states=("Failed",))
    fan = replace(FAN, depends_on=("List",))
    done = run(pipeline(training("List", 60), fan, LAST))
    assert done.state == "failed"
    assert [done.states[name] for name in ("Fan_items", "Fan", "Last")] == [
        "upstream_failed",
        "failed",
        "upstream_failed",
    ]
    assert seconds_of(aws) == [60]
    assert list(done.steps) == ["List"]


def test_wrong_items(run: Run, aws: FakeSageMaker) -> None:
    done = run(pipeline(FAN, LAST, items="eu"))
    assert done.indexes["Fan", -1] == "failed"
    assert "expected a JSON list" in done.xcom("Fan", "failure_reason")
    assert not aws.called("create")


def test_tasks_of_a_loop() -> None:
    """The first task waits for all that the body needs; iterations may all be deferred."""
    from sagebridge_operators.airflow import build
    from sagebridge_operators.airflow.deferral.deferring import _is_limit

    inner = replace(EVAL, arguments=plain({"ModelName": get("Steps.List.TrainingJobName")}))
    body = (SCORE, replace(inner, depends_on=("Score",)))
    dag: Any = build(pipeline(training("List", 60), replace(FAN, body=body), LAST))
    assert dag.get_task("Fan_items").upstream_task_ids == {"List"}
    assert dag.get_task("Score").upstream_task_ids == {"Fan_items"}
    assert dag.get_task("Eval").upstream_task_ids == {"Score"}
    assert dag.get_task("Fan").upstream_task_ids == {"Fan_items", "Eval"}
    assert dag.get_task("Last").upstream_task_ids == {"Fan"}
    assert dag.max_active_tasks == 1 + 1 + 1 + 1 + 2 * 2
    assert not _is_limit(dag.max_active_tasks, dag)
    assert _is_limit(dag.max_active_tasks - 1, dag)


def test_a_loop_of_your_own_dag() -> None:
    from airflow.sdk import DAG

    from sagebridge_operators.airflow import ForEachOperator, TrainingOperator

    with DAG("own") as dag:
        first = TrainingOperator(task_id="First", arguments={})
        last = TrainingOperator(task_id="Last", arguments={})
        with ForEachOperator(
            task_id="Fan", items=["a"], max_concurrency=1, trigger_rule="none_failed", retries=3
        ) as fan:
            TrainingOperator(task_id="Score", arguments={"TrainingJobName": current_item})
        first >> fan >> last
    assert [step.name for step in fan.step.inner] == ["Score"]
    tasks = dag.task_dict
    assert tasks["Fan_items"].upstream_task_ids == {"First"}
    assert tasks["Last"].upstream_task_ids == {"Fan"}
    assert (tasks["Fan_items"].trigger_rule, tasks["Fan"].trigger_rule) == (
        "none_failed",
        "all_done",
    )


def test_only_a_cleared_task_resolves_the_items_again(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.airflow import build
    from sagebridge_operators.airflow.for_each_operator import _driver
    from sagebridge_operators.lifecycle.opening import retry_execution
    from tests.airflow.test_identity import FakeRun, FakeTaskInstance

    loop: Any = build(pipeline(FAN), dag_id="same").get_task("Fan")
    monkeypatch.setenv("SAGEBRIDGE_EXECUTION", "first=0123456789ab")

    def begin(items: str, run: str = "first", **instance: Any) -> list[Any]:
        instance_ = FakeTaskInstance(FakeRun(run), "Fan_items", **instance)
        given = {"dag_run": instance_.run, "ti": instance_, "params": {"Items": items}}
        driver = _driver(loop, given)  # type: ignore[arg-type]
        records.append(driver.task.records)
        found: list[Any] = driver.begin()
        return found

    records: list[ExecutionRecords] = []
    assert begin("[60, 90]") == [60, 90]
    assert begin("[70]", try_number=2) == [60, 90]
    assert begin("[70]", try_number=4, max_tries=5) == [70]
    monkeypatch.setenv("SAGEBRIDGE_EXECUTION", "second=0123456789ab")
    retry_execution(records[0], "0123456789ab")
    assert begin("[80]", "second") == [70]
    del backend
