"""Code that was written for Airflow or Prefect, run by Prefect: roles, rules, settings, hooks."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest
from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from sagebridge_operators.prefect import (
    begin,
    current_item,
    finish,
    for_each,
    python,
    shell,
    template,
)
from sagebridge_operators.prefect.airflow_names import (
    AirflowSkipException,
    Asset,
    BaseBranchOperator,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
    Variable,
    get_current_context,
)
from tests.fakes import FakeBackend
from tests.prefect.conftest import Run

pytestmark = pytest.mark.prefect


def test_branches_gates_skips_and_rules(play: Run, backend: FakeBackend) -> None:
    del backend

    def nothing_to_do() -> None:
        raise AirflowSkipException("no rows")

    def fail() -> None:
        raise ValueError("boom")

    def body() -> Any:
        pick = python("pick", lambda: "full", role="branch")
        full = python("full", lambda: 1, depends_on=[pick])
        short = python("short", lambda: 2, depends_on=[pick])
        python(
            "join",
            lambda: 3,
            depends_on=[full, short],
            trigger_rule="none_failed_min_one_success",
        )
        gate = python("gate", list, role="gate")
        python("behind", lambda: 1, depends_on=[gate])
        skip = python("skip", nothing_to_do)
        python("after", lambda: 1, depends_on=[skip])
        broken = python("broken", fail)
        slow = python("slow", lambda: time.sleep(1.5))
        alert = python("alert", time.time, depends_on=[broken, slow], trigger_rule="one_failed")
        python("clean", time.time, depends_on=[slow, alert], trigger_rule="all_done")
        python("never", lambda: 1, depends_on=[broken])
        return finish()

    played = play(flow(body))
    assert played.states == {
        "pick": "Completed",
        "full": "Completed",
        "short": "Skipped",
        "join": "Completed",
        "gate": "Completed",
        "behind": "Skipped",
        "skip": "Skipped",
        "after": "Skipped",
        "broken": "Failed",
        "slow": "Completed",
        "alert": "Completed",
        "clean": "Completed",
        "never": "NotRun",
    }
    assert played.messages["skip"] == "no rows"
    # The alert does not wait for the slow step, as in Airflow.
    assert played.steps["alert"].ended < played.steps["slow"].ended
    assert played.steps["skip"].state == "Skipped"


def test_context_templates_and_pushed_values(play: Run, backend: FakeBackend) -> None:
    del backend
    found: dict[str, Any] = {}

    def collect(bucket: str, ds: str, **context: Any) -> Any:
        context["ti"].xcom_push(key="rows", value=[1, 2])
        found["collect"] = bucket, ds, context["params"], context["dag"].dag_id
        return {"total": 3, "day": date(2026, 1, 31)}

    def report(ti: Any, logical_date: Any, run_id: str, day: date, missing: Any = "own") -> str:
        found["rows"] = ti.xcom_pull(task_ids="collect", key="rows")
        found["total"] = ti.xcom_pull(task_ids="collect", key="total")
        found["many"] = ti.xcom_pull(task_ids=["collect", "gone"])
        found["report"] = logical_date, run_id, day, missing
        context = get_current_context()
        assert context["ti"].task_id == "report"
        assert context["execution_date"] == ti.execution_date == logical_date  # of Airflow 2
        assert context["dag_run"].partition_key is None
        outputs = Asset("s3://rows")
        context["outlet_events"][outputs].extra["rows"] = 2
        assert not list(context["inlet_events"][outputs])
        made = context["task"].render_template(
            ["{{ run_id }}", {"a": "{{ params.size }}"}], context
        )
        assert made == [run_id, {"a": "7"}]
        assert get_current_context()["task"].upstream_task_ids == {"collect"}
        return str(Variable.get("currency", default="EUR"))

    def body(size: int = 4) -> Any:
        first = python("collect", collect, args=["b"], context=True, retries=1)
        day = first.properties.return_value["day"]
        python("report", report, kwargs={"day": day}, context=True)
        shell(
            "print",
            template(
                "echo {{ ds_nodash }}-{{ params.size }}-{{ ti.xcom_pull('collect')['total'] }}"
            ),
            depends_on=[first],
        )
        return finish()

    played = play(flow(name="reports")(body), {"size": 7})
    assert played.state.is_completed(), played.messages
    scheduled = played.run.expected_start_time
    today = scheduled.strftime("%Y-%m-%d")
    assert found["collect"] == ("b", today, {"size": 7}, "reports")
    assert (found["rows"], found["total"]) == ([1, 2], 3)
    assert found["many"] == [{"total": 3, "day": date(2026, 1, 31)}, None]
    assert found["report"] == (scheduled, str(played.run.id), date(2026, 1, 31), "own")
    outputs = {name: (one.outputs or {})["return_value"] for name, one in played.steps.items()}
    assert outputs["print"] == f"{today.replace('-', '')}-7-3"
    assert outputs["report"] == "EUR"


def test_settings_are_options_of_the_tasks(play: Run, backend: FakeBackend) -> None:
    del backend
    events: list[Any] = []
    tries = iter(range(9))

    def flaky() -> int:
        get_run_logger().info("from Prefect's logger")
        if (number := next(tries)) < 2:
            raise ConnectionError(f"try {number}")
        return number

    def callback(event: str) -> Any:
        return lambda context: events.append(
            (event, context["ti"].task_id, context["ti"].try_number, repr(context["exception"]))
        )

    def hook(task: Any, task_run: Any, state: Any) -> None:
        events.append((state.name, task_run.name))

    def body() -> Any:
        begin(on_failure_callback=callback("flow failed"))
        python(
            "flaky",
            flaky,
            retries=2,
            retry_delay_seconds=0.01,
            retry_backoff=2.0,
            tags=["nightly"],
            pool="warehouse",
            on_execute_callback=callback("execute"),
            on_retry_callback=callback("retry"),
            on_success_callback=[callback("success")],
            on_completion=hook,
        )
        python(
            "stuck",
            lambda: time.sleep(5),
            timeout_seconds=0.3,
            on_failure=[hook],
            on_failure_callback=callback("failure"),
        )
        python("broken", lambda: 1 / 0, on_failure_callback=callback("failure"))
        shell("sleeps", "sleep 9", timeout_seconds=0.3)
        return finish()

    played = play(flow(body))
    failed = dict.fromkeys(("stuck", "broken", "sleeps"), "Failed")
    assert played.states == {"flaky": "Completed", **failed}
    assert played.messages["sleeps"] == "the step exceeded its time limit of 0.3 s"
    assert (ended := played.steps["stuck"].end) is not None
    assert ended.failure is not None
    assert ended.failure.kind == "time-limit"
    assert [one for one in events if one[1] == "flaky"] == [
        ("execute", "flaky", 1, "None"),
        ("retry", "flaky", 1, "ConnectionError('try 0')"),
        ("execute", "flaky", 2, "None"),
        ("retry", "flaky", 2, "ConnectionError('try 1')"),
        ("execute", "flaky", 3, "None"),
        ("Completed", "flaky"),
        ("success", "flaky", 3, "None"),
    ]
    assert ("Failed", "stuck") in events
    limit = "AirflowException('the step exceeded its time limit of 0.3 s')"
    assert ("failure", "stuck", 1, limit) in events
    assert ("failure", "broken", 1, "ZeroDivisionError('division by zero')") in events
    assert events[-1][0] == "flow failed"
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [played.run.id]}))
    assert {"nightly", "warehouse"} <= set(next(one.tags for one in tasks if one.name == "flaky"))


def test_mapped_code_runs_at_most_as_often_as_allowed(play: Run, backend: FakeBackend) -> None:
    del backend
    running, most = [0], [0]

    def square(number: int, plus: int = 0) -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.1)
        running[0] -= 1
        return number**2 + plus

    def items() -> list[Any]:
        return [{"number": one, "plus": 1} for one in range(4)]

    def body() -> Any:
        made = python("items", items)
        fan = for_each("fan", items=made.properties.return_value, max_concurrency=4)
        with fan.body():
            python("square", square, unpacked=current_item, concurrency=2)
        python("last", last, context=True, depends_on=[fan])
        return finish()

    def last(ti: Any) -> Any:
        return [ti.xcom_pull("fan", map_indexes=one) for one in (2, [0, 9], None)]

    played = play(flow(body))
    assert played.state.is_completed(), played.messages
    assert most == [2]
    assert (played.steps["last"].outputs or {})["return_value"] == [5, [1, None], [1, 2, 5, 10]]


def test_code_has_the_name_of_the_task_that_it_was_in_a_dag(
    play: Run, backend: FakeBackend
) -> None:
    """The body of a mapped task and the function that returns a command are own steps."""
    del backend

    def name(ti: Any, task: Any) -> Any:
        assert task.task_id == ti.task_id
        return ti.task_id

    def body() -> Any:
        with for_each("many", items=[1], max_concurrency=1).body():
            python("many-item", name, context=True)
        python("say-command", name, context=True)
        python("say", name, context=True)
        python("alone-command", name, context=True)
        return finish()

    played = play(flow(body))
    assert played.state.is_completed(), played.messages
    results = {one: (step.outputs or {})["return_value"] for one, step in played.steps.items()}
    assert results["many"] == ["many"]
    assert results["say-command"] == results["say"] == "say"
    assert results["alone-command"] == "alone-command"


def test_sensor_polls_and_soft_failure_skips(play: Run, backend: FakeBackend) -> None:
    del backend
    answers = iter([False, False, True])

    def body() -> Any:
        python("ready", lambda: next(answers), role="sensor", poll_interval=0.05)
        late = python(
            "late",
            lambda: False,
            role="sensor",
            poll_interval=0.05,
            poll_timeout=0.2,
            soft_fail=True,
        )
        python("after", lambda: 1, depends_on=[late])
        return finish()

    played = play(flow(body))
    assert played.states == {"ready": "Completed", "late": "Skipped", "after": "Skipped"}
    assert played.state.is_completed()


class Greet(BaseOperator):
    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name

    def execute(self, context: Any) -> Any:
        self.log.info("greeting")
        return [self.name, self.task_id, self.dag.dag_id, self.retries, context["params"]]


class Third(BaseSensorOperator):
    calls = 0

    def poke(self, context: Any) -> Any:
        del context
        self.calls += 1
        return PokeReturnValue(self.calls == 3, self.calls)


class Pick(BaseBranchOperator):
    def choose_branch(self, context: Any) -> str:
        return str(context["params"]["chosen"])


def test_operators_of_the_user_are_called(play: Run, backend: FakeBackend) -> None:
    del backend

    def body(chosen: str = "greet") -> Any:
        third = python("third", Third, role="sensor", poll_interval=0.01)
        pick = python("pick", Pick, role="branch", depends_on=[third])
        name = third.properties.return_value
        python("greet", Greet, kwargs={"name": name}, depends_on=[pick], retries=2)
        python("other", Greet, kwargs={"name": ""}, depends_on=[pick])
        return finish()

    played = play(flow(name="greetings")(body))
    assert played.states["other"] == "Skipped"
    assert (played.steps["greet"].outputs or {})["return_value"] == [
        3,
        "greet",
        "greetings",
        2,
        {"chosen": "greet"},
    ]
