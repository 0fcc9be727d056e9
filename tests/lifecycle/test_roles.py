"""What code decides: branches, gates, sensors, skips; its context, templates, async functions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pytest

from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import join, plain, properties_of, template
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import states
from sagebridge_operators.lifecycle.step_task import EngineRun
from sagebridge_operators.lifecycle.user_code.roles import Polling, poll, skipped_by
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, current_run
from sagebridge_operators.lifecycle.user_code.values import encode
from sagebridge_operators.run_errors import StepFailed, StepSkipped, StepStopped, Unresolvable
from tests.lifecycle.conftest import EXECUTION, Find, Make


class AirflowSkipException(Exception): ...


class AirflowFailException(Exception): ...


@dataclass
class PokeReturnValue:
    is_done: bool
    xcom_value: Any = None

    def __bool__(self) -> bool:
        return self.is_done


def code(
    name: str = "Train", *needs: str, role: str = "", context: bool = False, **settings: Any
) -> PythonStep:
    step = Step(
        name,
        PYTHON,
        plain(call_arguments((), {})),
        depends_on=needs,
        engine=EngineSettings(**settings),
    )
    return PythonStep.of(step, Function("f", ""), role=role, context=context)


def called(arguments: Any, **more: Any) -> PythonStep:
    return PythonStep.of(Step("Train", PYTHON, plain(arguments)), Function("f", ""), **more)


def diamond(role: str, **rules: str) -> Pipeline:
    """Train decides; A and B follow, Join comes after both and directly after Train, then Last."""
    return Pipeline(
        steps=(
            code(role=role),
            code("A", "Train", group=("reports", "short")),
            code("B", "Train", group=("reports",)),
            code("Join", "Train", "A", "B", trigger_rule=rules.get("Join", "")),
            code("Last", "Join", trigger_rule=rules.get("Last", "")),
        )
    )


@pytest.mark.parametrize(
    ("result", "skipped"),
    [
        ("A", ["B"]),
        (["A", "B"], []),
        (("B",), ["A"]),
        (None, ["A", "B", "Join"]),
        ([], ["A", "B", "Join"]),
        ("Join", ["A", "B"]),
        ("reports.short.A", ["B"]),
        ("reports", []),
        ("reports.short", ["B"]),
        ("Last", ["A", "B", "Join"]),
    ],
)
def test_branch_skips_the_other_direct_dependants(result: Any, skipped: list[str]) -> None:
    pipeline = diamond("branch")
    assert skipped_by(pipeline.steps[0], result, pipeline) == skipped  # type: ignore[arg-type]


@pytest.mark.parametrize("result", ["C", 7, ["A", 7], {"A": 1}])
def test_branch_to_unknown_step_fails(result: Any, make: Make, record: Find) -> None:
    pipeline = diamond("branch")
    with pytest.raises(StepFailed, match=r"step 'Train' returned .*not a step of the pipeline"):
        make(pipeline.steps[0], function=lambda: result, pipeline=pipeline).run()
    assert record().state == "Failed"


def run(make: Make, records: ExecutionRecords, pipeline: Pipeline, result: Any) -> dict[str, str]:
    """The state of each step after the first one has returned ``result``."""
    make(pipeline.steps[0], function=lambda: result, pipeline=pipeline).run()
    return dict(states(pipeline, records.steps(EXECUTION.id)))


def test_branch_joins_with_a_rule(make: Make, records: ExecutionRecords) -> None:
    found = run(make, records, diamond("branch", Join="none_failed_min_one_success"), "A")
    assert [found[one] for one in ("A", "B", "Join")] == ["Pending", "Skipped", "Pending"]


def test_branch_without_a_rule_skips_the_join(make: Make, records: ExecutionRecords) -> None:
    found = run(make, records, diamond("branch"), "A")
    assert [found[one] for one in ("Join", "Last")] == ["Skipped", "Skipped"]


def test_gate_skips_everything_below(make: Make, records: ExecutionRecords) -> None:
    found = run(make, records, diamond("gate", Join="always", Last="always"), result=[])
    assert set(found.values()) == {"Succeeded", "Skipped"}
    assert found["Last"] == "Skipped"


def test_direct_gate_leaves_the_rest_to_its_rules(make: Make, records: ExecutionRecords) -> None:
    found = run(make, records, diamond("direct_gate", Last="all_done"), result=0)
    assert [found[one] for one in ("A", "Join", "Last")] == ["Skipped", "Skipped", "Pending"]


def test_open_gate_skips_nothing(make: Make, records: ExecutionRecords) -> None:
    found = run(make, records, diamond("gate"), result="yes")
    assert set(found.values()) == {"Succeeded", "Pending"}


def test_gate_leaves_teardowns_to_their_rule() -> None:
    pipeline = Pipeline(
        steps=(
            code(role="gate"),
            code("Work", "Train"),
            code("Close", "Work", trigger_rule="all_done_setup_success"),
        )
    )
    assert skipped_by(pipeline.steps[0], False, pipeline) == ["Work"]  # type: ignore[arg-type]


def test_skip_exception_ends_the_step_skipped(make: Make, record: Find) -> None:
    def function() -> None:
        raise AirflowSkipException("no rows today")

    with pytest.raises(StepSkipped, match="no rows today"):
        make(code(), function=function, user_retries=3).run()
    assert (record().state, record().reason) == ("Skipped", "no rows today")
    pipeline = Pipeline(steps=(code(), code("After", "Train")))
    assert states(pipeline, {"Train": record()})["After"] == "Skipped"
    with pytest.raises(StepSkipped):
        make(code(), function=print).run()


def test_fail_exception_is_not_retried(make: Make) -> None:
    def function() -> None:
        raise AirflowFailException("give up")

    with pytest.raises(StepFailed, match="AirflowFailException: give up") as caught:
        make(code(), function=function, user_retries=3).run()
    assert caught.value.retry is None


def test_async_function_runs(make: Make) -> None:
    async def part(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def function() -> int:
        return sum(await asyncio.gather(*map(part, range(4))))

    assert make(code(), function=function).run()["return_value"] == 6


class PrefectFuture:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_futures_become_their_results(make: Make) -> None:
    one = {"rows": [PrefectFuture(1), PrefectFuture([PrefectFuture(2)])], "n": 3}
    outputs = make(code(), function=lambda: one).run()
    assert outputs["return_value"] == {"rows": [1, [2]], "n": 3}
    failed = PrefectFuture(ValueError("no rows"))
    with pytest.raises(StepFailed, match="ValueError: no rows"):
        make(code(), function=lambda: [failed], generation=1).run()


def test_stop_interrupts_an_async_function(make: Make, records: ExecutionRecords) -> None:
    started = threading.Event()

    async def function() -> None:
        started.set()
        await asyncio.sleep(60)

    driver = make(code(), function=function)

    def kill() -> None:
        started.wait(5)
        driver.killed = True

    threading.Thread(target=kill, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(StepStopped):
        driver.run()
    assert time.monotonic() - began < 10


class Clock:
    """Time passes only while a sensor sleeps."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def sensor(self, *results: Any) -> Callable[[], Any]:
        given = iter(results)

        def sense() -> Any:
            self.calls.append(round(self.now, 3))
            return next(given, False)

        return sense


def polled(clock: Clock, sense: Callable[[], Any], **more: Any) -> Any:
    waited = more.pop("waited", 0.0)
    stop = more.pop("stop", lambda: False)
    return poll(
        sense,
        Polling(**more),
        stop,
        lambda text: None,
        waited=waited,
        clock=lambda: clock.now,
        sleep=clock.sleep,
    )


def test_sensor_is_called_until_its_result_is_true() -> None:
    clock = Clock()
    assert polled(clock, clock.sensor(0, [], True), interval=30) is None
    assert clock.calls == [0, 30, 60]


def test_sensor_returns_its_xcom_value() -> None:
    clock = Clock()
    sense = clock.sensor(PokeReturnValue(False), PokeReturnValue(True, {"key": "a"}))
    assert polled(clock, sense) == {"key": "a"}
    assert clock.calls == [0, 60]


def test_sensor_backs_off() -> None:
    clock = Clock()
    polled(clock, clock.sensor(0, 0, 0, 0, 1), interval=10, backoff=2, longest=50)
    assert clock.calls == [0, 10, 30, 70, 120]


def test_sensor_times_out() -> None:
    clock = Clock()
    with pytest.raises(StepFailed, match=r"timed out after 120 s \(limit: 100 s\)") as caught:
        polled(clock, clock.sensor(), interval=60, timeout=100)
    assert clock.calls == [0, 60, 120]
    assert caught.value.kind == "final"  # Airflow does not retry it


def test_soft_failure_skips() -> None:
    clock = Clock()
    with pytest.raises(StepSkipped, match="timed out"):
        polled(clock, clock.sensor(), timeout=100, soft_fail=True)

    def raises() -> None:
        raise StepFailed("boom", kind="code")

    with pytest.raises(StepFailed, match="boom") as caught:
        polled(clock, raises, soft_fail=True)
    assert not isinstance(caught.value, StepSkipped)


def test_sensor_counts_the_time_of_a_lost_worker() -> None:
    clock = Clock()
    with pytest.raises(StepFailed, match="after 110 s"):
        polled(clock, clock.sensor(), timeout=100, waited=50)


def test_stop_ends_a_sensor_that_waits() -> None:
    clock = Clock()
    with pytest.raises(StepStopped):
        polled(clock, clock.sensor(), stop=lambda: clock.now > 5)
    assert clock.now < 6


def test_sensor_step_polls(make: Make) -> None:
    calls = iter([False, PokeReturnValue(True, date(2026, 1, 31))])
    step = code(role="sensor", poll_interval=0.01)
    outputs = make(step, function=lambda: next(calls)).run()
    assert outputs["return_value"] == {"__sagebridge__": "date", "value": "2026-01-31"}


DAY = datetime(2026, 1, 31, tzinfo=UTC)


def airflow_context(context: RunContext) -> dict[str, Any]:
    return {"ds": f"{context.scheduled:%Y-%m-%d}", "run_id": context.run_id, "ti": context}


ENGINE = EngineRun(run_id="scheduled__1", scheduled=DAY, context=airflow_context)


def test_context_fills_what_the_call_does_not_set(make: Make) -> None:
    given: list[Any] = []

    def function(ds: str, rows: int, run_id: str = "", other: int = 1) -> None:
        given.append((ds, rows, run_id, other))

    step = called(call_arguments((), {"rows": 2, "unused": 1}), context=True)
    make(step, function=function, engine_run=ENGINE).run()
    step = called(call_arguments(("2020-01-01",), {"rows": 2, "run_id": "own"}), context=True)
    make(step, function=function, engine_run=ENGINE, generation=1).run()
    assert given == [("2026-01-31", 2, "scheduled__1", 1), ("2020-01-01", 2, "own", 1)]


def test_keywords_get_the_whole_context(make: Make) -> None:
    given: dict[str, Any] = {}
    step = called(call_arguments((), {"bucket": "b"}), context=True)
    make(step, function=lambda **kwargs: given.update(kwargs), engine_run=ENGINE).run()
    assert (given["bucket"], given["ds"], given["ti"].step) == ("b", "2026-01-31", "Train")


def test_function_without_context_gets_none(make: Make) -> None:
    def function(ds: str = "default") -> str:
        return ds

    outputs = make(code(), function=function, engine_run=ENGINE).run()
    assert outputs["return_value"] == "default"


def test_unpacked_dict_becomes_keywords(make: Make) -> None:
    given: dict[str, Any] = {}
    source = properties_of("Prep").return_value[1]
    step = called({**call_arguments((), {"version": 3}), "unpacked": source})
    upstream = {"Prep": {"return_value": [None, {"source": "web", "day": "x"}]}}
    make(step, upstream, function=lambda **kwargs: given.update(kwargs)).run()
    assert given == {"version": 3, "source": "web", "day": "x"}
    step = called({**call_arguments((), {}), "unpacked": properties_of("Prep").return_value[0]})
    with pytest.raises(StepFailed, match="expected a dict of keyword arguments, got None"):
        make(step, upstream, function=print, generation=1).run()


def test_item_of_a_named_tuple_has_a_name_and_a_position(make: Make) -> None:
    class Pair(NamedTuple):
        left: int
        right: int

    result = properties_of("Prep").return_value
    step = called(call_arguments((result[1], result.left), {}))
    upstream = {"Prep": {"return_value": encode("Prep", Pair(3, 4))}}
    assert make(step, upstream, function=lambda *both: list(both)).run()["return_value"] == [4, 3]


def test_code_pulls_what_other_code_pushed(make: Make) -> None:
    def collect() -> dict[str, Any]:
        current_run().push("by_account", {date(2026, 1, 1): (1, 2)})
        return {"total": 3}

    make(code("Collect"), function=collect).run()
    seen: list[Any] = []

    def show() -> None:
        run = current_run()
        seen.extend(run.pull("Collect", key, None) for key in ("return_value", "by_account"))
        seen.extend(run.pull(name, key, None) for name, key in (("Collect", "total"), ("No", "x")))

    make(code("Show"), function=show).run()
    assert seen == [{"total": 3}, {date(2026, 1, 1): (1, 2)}, 3, None]


def test_pushes_of_a_failed_step_are_kept(make: Make) -> None:
    def failing() -> None:
        current_run().push("reason", "no rows")
        raise ValueError

    with pytest.raises(StepFailed):
        make(code("Load"), function=failing).run()
    outputs = make(code("Alert"), function=lambda: current_run().pull("Load", "reason", None)).run()
    assert outputs["return_value"] == "no rows"


def test_run_context_has_the_facts(make: Make) -> None:
    seen: list[RunContext] = []
    pipeline = Pipeline(name="orders", steps=(code(),))
    make(
        code(), function=lambda: seen.append(current_run()), pipeline=pipeline, engine_run=ENGINE
    ).run()
    found = seen[0]
    assert (found.name, found.step, found.run_id, found.scheduled, found.try_number) == (
        "orders",
        "Train",
        "scheduled__1",
        DAY,
        1,
    )


def test_templates_render_with_the_context(make: Make) -> None:
    given: list[Any] = []
    path = join("", "s3://b/", template("{{ ds }}/{{ run_id | upper }}"), "/x")
    step = called(call_arguments((path, "{{ ds }}"), {}))
    make(step, function=lambda *args: given.extend(args), engine_run=ENGINE).run()
    assert given == ["s3://b/2026-01-31/SCHEDULED__1/x", "{{ ds }}"]


def test_each_try_renders_its_templates(make: Make) -> None:
    given: list[Any] = []

    def function(number: int) -> None:
        given.append(number)
        raise ConnectionError

    step = called(call_arguments((template("{{ ti.try_number }}"),), {}))
    for number in range(2):
        driver = make(step, function=function, engine_run=ENGINE, user_retries=1, engine_try=number)
        with pytest.raises(StepFailed):
            driver.run()
    assert given == ["1", "2"]


def test_generator_of_metadata_has_its_return_value(make: Make) -> None:
    class Metadata: ...

    def function() -> Generator[Any, None, int]:
        yield Metadata()
        return 3

    assert make(code(), function=function).run()["return_value"] == 3

    def other() -> Iterator[int]:
        yield 1

    with pytest.raises(StepFailed, match="is a generator"):
        make(code(), function=other, generation=1).run()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ dss }}", "'dss' is undefined"),
        ("{{ ds", "unexpected end of template"),
        ("{{ ds.__class__.__mro__ }}", "access to attribute '__class__'"),
    ],
)
def test_bad_template_fails_its_step(text: str, problem: str, make: Make) -> None:
    step = called(call_arguments((template(text),), {}))
    with pytest.raises(StepFailed, match=problem):
        make(step, function=print, engine_run=ENGINE).run()


def test_step_with_a_rule_gets_none_from_skipped_steps(make: Make) -> None:
    before = properties_of("Prep").return_value
    step = replace(
        called(call_arguments((before, [before["rows"]]), {})),
        engine=EngineSettings(trigger_rule="none_failed_min_one_success"),
    )
    given: list[Any] = []
    make(step, function=lambda *args: given.extend(args)).run()
    assert given == [None, [None]]
    with pytest.raises(Unresolvable, match="'Prep' has no outputs"):
        make(replace(step, engine=EngineSettings()), function=print, generation=1).run()


def test_results_reach_jobs_and_text_as_python_shows_them(make: Make) -> None:
    outputs = make(code("Prep"), function=lambda: {"day": date(2026, 1, 31), "n": (1, 2)}).run()
    given: list[Any] = []
    before = properties_of("Prep").return_value
    step = called(call_arguments((join("/", "s3://b", before["day"]), before["n"][1]), {}))
    make(step, {"Prep": outputs}, function=lambda *args: given.extend(args)).run()
    assert given == ["s3://b/2026-01-31", 2]
