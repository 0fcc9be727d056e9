"""Code steps that decide: branches, gates, sensors, skips, the context, templates and hooks."""

from __future__ import annotations

import runpy
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import (
    DAG,
    BaseOperator,
    BaseSensorOperator,
    Param,
    PokeReturnValue,
    TaskGroup,
    get_current_context,
)

import sagebridge
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.model.code_steps import PYTHON, PythonStep
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import Get, Member, current_item, join, plain, template
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import (
    FlowHook,
    ForEachOperator,
    PythonStepOperator,
    ShellStepOperator,
)
from sagebridge_operators.airflow._compat import AirflowSkipException
from tests.dagtest import new_id, play
from tests.nullable import ARGUMENTS, CASES, seen

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("backend")]
DONE, SKIPPED, FAILED, NEVER = "success", "skipped", "failed", "upstream_failed"
SLOT = datetime(2026, 11, 28, 4, tzinfo=UTC)


def collect(bucket: str, **context: Any) -> int:
    context["ti"].xcom_push(key="by_account", value={"a": 1.5})
    return len(bucket)


def has_lines(ti: Any) -> bool:
    return bool(ti.xcom_pull(task_ids="collect") > 4)


def choose(params: dict[str, Any]) -> Any:
    return "reports.full" if params["force"] else ["reports.short"]


def report(kind: str, ti: Any, run_id: str) -> dict[str, Any]:
    accounts = get_current_context()["ti"].xcom_pull(task_ids=["collect"], key="by_account")
    assert accounts == [ti.xcom_pull(task_ids="collect", key="by_account")]
    return {"kind": kind, "accounts": accounts[0], "day": date(2026, 1, 2), "run": run_id}


def join_reports(full: Any, short: Any, what: str) -> str:
    found = full or short
    assert isinstance(found["day"], date)
    return f"{what} {found['kind']} {found['accounts']}"


def build_report(bucket: str) -> DAG:
    with DAG(new_id("roles"), params={"force": False}, schedule=None) as dag:
        PythonStepOperator(
            task_id="collect",
            python_callable=collect,
            op_kwargs={"bucket": join("", bucket, template("{{ params.force }}"))},
            context=True,
        )
        PythonStepOperator(
            task_id="any_lines",
            python_callable=has_lines,
            role="gate",
            context=True,
            depends_on=["collect"],
        )
        pick = PythonStepOperator(
            task_id="pick",
            python_callable=choose,
            role="branch",
            context=True,
            depends_on=["any_lines"],
        )
        with TaskGroup("reports"):
            full, short = (
                PythonStepOperator(
                    task_id=kind,
                    python_callable=report,
                    op_args=[kind],
                    context=True,
                    depends_on=[pick],
                )
                for kind in ("full", "short")
            )
        joined = PythonStepOperator(
            task_id="join",
            python_callable=join_reports,
            op_args=[full.properties.return_value, short.properties.return_value],
            op_kwargs={"what": template("{{ dag.dag_id[:5] }}")},
            depends_on=[full, short],
            trigger_rule="none_failed_min_one_success",
        )
        ShellStepOperator(
            task_id="archive",
            bash_command=join("", "echo archived ", template("{{ ti.task_id }}")),
            depends_on=[joined],
        )
    return dag


@pytest.mark.airflow31
def test_branch_and_join_run_as_airflow_runs_them() -> None:
    played = play(build_report("bucket"), {"force": True})
    assert played.states == {
        "collect": DONE,
        "any_lines": DONE,
        "pick": DONE,
        "reports.full": DONE,
        "reports.short": SKIPPED,
        "join": DONE,
        "archive": DONE,
    }
    assert played.state == DONE
    assert played.xcom("join")["return_value"] == "roles full {'a': 1.5}"
    assert played.xcom("archive")["return_value"] == "archived archive"


def test_gate_skips_all_tasks_below() -> None:
    played = play(build_report(""), {"force": True})
    done = {one for one, state in played.states.items() if state == DONE}
    assert done == {"collect", "any_lines"}
    assert set(played.states.values()) == {DONE, SKIPPED}


def test_direct_gate_leaves_the_rest_to_trigger_rules() -> None:
    with DAG(new_id("direct"), schedule=None) as dag:
        gate = PythonStepOperator(task_id="gate", python_callable=dict, role="direct_gate")
        next_ = PythonStepOperator(task_id="next", python_callable=dict, depends_on=[gate])
        PythonStepOperator(
            task_id="last", python_callable=dict, depends_on=[next_], trigger_rule="all_done"
        )
    assert play(dag).states == {"gate": DONE, "next": SKIPPED, "last": DONE}


def test_settings_are_those_of_the_step() -> None:
    steps = {step.name: step for step in pipeline_of(build_report("bucket")).steps}
    assert steps["full"].engine == EngineSettings(group=["reports"])
    assert steps["join"].engine == EngineSettings(trigger_rule="none_failed_min_one_success")


@pytest.mark.parametrize("rule", ["all_done", "all_success", "one_failed"])
def test_skips_and_failures_follow_the_trigger_rule(rule: str) -> None:
    def skip() -> None:
        raise AirflowSkipException("nothing to do")

    with DAG(new_id("rules"), schedule=None) as dag:
        first = PythonStepOperator(task_id="first", python_callable=skip)
        PythonStepOperator(
            task_id="last", python_callable=dict, depends_on=[first], trigger_rule=rule
        )
    played = play(dag)
    expected = DONE if rule == "all_done" else SKIPPED
    assert played.states == {"first": SKIPPED, "last": expected}
    assert played.steps["first"].state == "Skipped"


def test_leaf_that_tolerates_failures_decides_the_run_as_in_airflow() -> None:
    def fail() -> None:
        raise ValueError("no")

    with DAG(new_id("leaf"), schedule=None) as dag:
        first = PythonStepOperator(task_id="first", python_callable=fail)
        PythonStepOperator(
            task_id="clean", python_callable=dict, depends_on=[first], trigger_rule="all_done"
        )
    played = play(dag)
    assert played.states == {"first": FAILED, "clean": DONE}
    assert played.state == DONE


@pytest.mark.parametrize("soft", [True, False])
def test_sensor_waits_and_times_out(soft: bool) -> None:
    began = time.monotonic()

    def later() -> bool:
        return time.monotonic() - began > 0.3

    def never() -> bool:
        return False

    with DAG(new_id("sensor"), schedule=None) as dag:
        settings: dict[str, Any] = {"role": "sensor", "poke_interval": 0.1, "timeout": 5}
        PythonStepOperator(task_id="later", python_callable=later, **settings)
        settings["timeout"] = 0.2
        PythonStepOperator(task_id="never", python_callable=never, soft_fail=soft, **settings)
    assert play(dag).states == {"later": DONE, "never": SKIPPED if soft else FAILED}


def test_results_of_all_iterations_reach_a_later_step() -> None:
    def sources() -> list[dict[str, Any]]:
        return [{"source": "web", "days": 2}, {"source": "app", "days": 3}]

    def count(source: str, days: int, version: int) -> dict[str, Any]:
        return {"key": f"v{version}/{source}", "rows": days * 10}

    def total(parts: list[dict[str, Any]]) -> list[Any]:
        return [sum(one["rows"] for one in parts), *(one["key"] for one in parts)]

    with DAG(new_id("mapped"), schedule=None) as dag:
        made = PythonStepOperator(task_id="sources", python_callable=sources)
        with ForEachOperator(
            task_id="each", items=made.properties.return_value, max_concurrency=2
        ) as fan:
            PythonStepOperator(
                task_id="count",
                python_callable=count,
                op_kwargs={"version": 3},
                unpacked=current_item,
            )
        PythonStepOperator(
            task_id="total",
            python_callable=total,
            op_args=[Get("Steps", (Member(fan.step.name), Member("return_value")))],
        )
    played = play(dag)
    assert played.state == DONE
    assert played.xcom("total")["return_value"] == [50, "v3/web", "v3/app"]


def test_hooks_of_prefect_are_called() -> None:
    called: list[tuple[str, str]] = []

    def hook(task: Any, run: Any, state: Any) -> None:
        called.append((task.name, f"{state.type.value} {state.message}"))

    def flow_hook(flow: Any, run: Any, state: Any) -> None:
        called.append((flow.name, state.type.value))

    def fail() -> None:
        raise ValueError("no")

    with DAG(
        new_id("hooks"),
        schedule=None,
        default_args={"pipeline": {"PipelineName": "all hooks"}},
        on_failure_callback=[FlowHook(flow_hook)],
    ) as dag:
        PythonStepOperator(task_id="good", python_callable=dict, on_completion=[hook])
        PythonStepOperator(task_id="bad", python_callable=fail, on_failure=hook)
    play(dag)
    # As in Prefect, a task has the name of its function, and a flow any name.
    assert sorted(called) == [
        ("all hooks", "FAILED"),
        ("dict", "COMPLETED "),
        ("fail", "FAILED Task run encountered an exception ValueError: no"),
    ]


def test_task_group_around_a_loop_is_written_once(tmp_path: Path) -> None:
    group = EngineSettings(group=["album"])
    call = plain({"args": [], "kwargs": {}})
    function = Function("work", "def work(): ...")

    def step(name: str) -> PythonStep:
        return PythonStep(name, PYTHON, call, engine=group, function=function)

    loop = ForEachStep("Each", items=plain(["a"]), body=[step("Inside")])
    text = sagebridge.write(Pipeline("groups", [step("Outside"), loop]), "airflow").text
    (tmp_path / "groups.py").write_text(text)
    names = runpy.run_path(str(tmp_path / "groups.py"))
    assert set(names["each"].dag.task_ids) == {"album.Outside", "Each_items", "Inside", "Each"}


class Greet(BaseOperator):
    def __init__(self, name: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name

    def execute(self, context: Any) -> Any:
        return [self.name, self.task_id, context["run_id"]]


class Third(BaseSensorOperator):
    calls = 0

    def poke(self, context: Any) -> Any:
        del context
        self.calls += 1
        return PokeReturnValue(self.calls == 3, self.calls)


def test_operators_of_the_user_are_called() -> None:
    with DAG(new_id("own"), schedule=None) as dag:
        third = PythonStepOperator(
            task_id="third", python_callable=Third, role="sensor", poke_interval=0.01
        )
        PythonStepOperator(
            task_id="greet",
            python_callable=Greet,
            op_kwargs={"name": third.properties.return_value},
            context=True,
        )
    played = play(dag)
    assert played.xcom("greet")["return_value"] == [3, "greet", played.run_id]


@pytest.mark.airflow31
@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_null_in_code(given: dict[str, Any], wanted: list[Any]) -> None:
    params: Any = {
        "day": Param(None, type=["null", "string"]),
        "n": Param(None, type=["null", "integer"]),
    }
    with DAG(new_id("nullable"), params=params, schedule=None) as dag:
        PythonStepOperator(task_id="seen", python_callable=seen, op_args=ARGUMENTS, context=True)
    assert play(dag, given).xcom("seen")["return_value"] == wanted
