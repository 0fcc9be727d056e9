"""ForEach: items that never change, iterations, the selected one, and the end of the step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pytest

from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.expressions import Get, get, parameter, plain, properties_of
from sagebridge.model.for_each import ForEachStep, Selector, iteration_name, max_by, min_by
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import ABSENT, Absent, Value
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import Execution, job_token
from sagebridge_operators.lifecycle.for_each import ForEachDriver
from sagebridge_operators.lifecycle.for_each_items import LARGEST_ITEM, shown_item
from sagebridge_operators.lifecycle.for_each_slots import claim
from sagebridge_operators.lifecycle.outputs import property_of, references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import states, status
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.sweep import lost_attempts
from sagebridge_operators.run_errors import ExecutionStopped, StepFailed, StepSkipped, StepStopped
from tests.fakes import STARTED, FakeBackend, FakeSageMaker, Plan
from tests.lifecycle.conftest import ARGUMENTS

SECONDS = "StoppingCondition.MaxRuntimeInSeconds"
LOG = logging.getLogger(__name__)


def training(name: str, item: Value, **more: Any) -> Step:
    arguments = {**ARGUMENTS["Training"], "StoppingCondition": {"MaxRuntimeInSeconds": item}}
    return Step(name, "Training", arguments=plain(arguments), **more)


SCORE = training("Score", get("ForEach.CurrentItem.seconds"))
EVAL = training("Eval", get(f"Steps.Score.{SECONDS}"))
LAST = training("Last", get(f"Steps.Fan.IterationOutputs[1].Score.{SECONDS}"))
BEST = training("Best", get(f"Steps.Fan.Selected.{SECONDS}"))


@dataclass
class Loop:
    """Runs a ForEach named Fan as an engine does, with one iteration after the other."""

    records: ExecutionRecords
    backend: FakeBackend
    items: Value = field(default_factory=lambda: parameter("Items"))
    given: Any = '[{"seconds": 60}, {"seconds": 90}]'
    body: Sequence[Step] = (SCORE,)
    selector: Selector | Absent = ABSENT
    others: Sequence[Step] = (LAST, BEST)
    limit: Value = 2
    engine: EngineSettings = NO_SETTINGS

    @property
    def step(self) -> ForEachStep:
        return ForEachStep(
            "Fan",
            items=self.items,
            max_concurrency=self.limit,
            selector=self.selector,
            body=tuple(self.body),
            engine=self.engine,
        )

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(steps=(self.step, *self.others))

    @property
    def execution(self) -> Execution:
        return Execution("0123456789ab", "loop", "airflow", "x", STARTED, {"Items": self.given})

    def task(self, step: Step, index: tuple[int, ...] = (), **more: Any) -> StepTask:
        def upstream(name: str) -> Mapping[str, Any] | None:
            known = self.records.attempts(self.execution.id, name, index)
            return max(known, key=lambda one: one.order).outputs if known else None

        references = references_to(step.name, self.pipeline.steps)
        given = {"index": index, "references": references, "pipeline": self.pipeline, **more}
        return StepTask(step, self.execution, self.backend, self.records, upstream, **given)

    def driver(self, **more: Any) -> ForEachDriver:
        renew = more.pop("renew", False)
        return ForEachDriver(self.task(self.step, **more), LOG, renew)

    def run(self, **more: Any) -> dict[str, Any]:
        for index in range(len(self.driver(**more).begin())):
            self.iterate(index, **more)
        return self.driver(**more).finish()

    def iterate(self, index: int, **more: Any) -> None:
        for step in self.body:
            try:
                StepDriver(self.task(step, (index,), **more)).run()
            except StepFailed:
                return

    def fail(self, step: str, index: int, reason: str = "boom") -> None:
        """The job of one iteration fails."""
        token = job_token(self.execution.id, 0, step, (index,))
        ending = {"FailureReason": reason}
        self.backend.sagemaker.plans[token] = Plan(states=("Failed",), ending=ending)


@pytest.fixture
def loop(records: ExecutionRecords, backend: FakeBackend) -> Loop:
    return Loop(records, backend)


def seconds_of(aws: FakeSageMaker) -> list[int]:
    created = aws.called("create_training_job")
    return [one["StoppingCondition"]["MaxRuntimeInSeconds"] for one in created]


def test_items_from_a_parameter(loop: Loop, aws: FakeSageMaker) -> None:
    outputs = loop.run()
    assert seconds_of(aws) == [60, 90]
    names = {one["TrainingJobName"] for one in aws.called("create_training_job")}
    assert len(names) == 2
    assert outputs == {
        "step": "Fan",
        "type": "ForEach",
        "status": "Succeeded",
        "input_item_count": 2,
        "total_step_count": 2,
        "succeeded_step_count": 2,
        "failed_step_count": 0,
        "stopped_step_count": 0,
        "properties": {f"IterationOutputs[1].Score.{SECONDS}": 90},
        "missing": {f"Selected.{SECONDS}": ["2 iterations"]},
    }


def test_items_from_the_output_of_a_step(loop: Loop, aws: FakeSageMaker) -> None:
    source = Step("List", "Training", arguments=plain(ARGUMENTS["Training"]))
    loop.items, loop.others = get("Steps.List.HyperParameters['items']"), (source,)
    aws.plans["List"] = Plan(ending={"HyperParameters": {"items": '[{"seconds": 61}]'}})
    StepDriver(loop.task(source)).run()
    loop.run()
    assert seconds_of(aws)[1:] == [61]


def test_a_list_of_references(loop: Loop, aws: FakeSageMaker) -> None:
    loop.items, loop.given = plain([70, parameter("Items")]), 80
    loop.body = [training("Score", get("ForEach.CurrentItem"))]
    loop.run()
    assert seconds_of(aws) == [70, 80]


def test_an_empty_list_succeeds(loop: Loop) -> None:
    loop.given, loop.selector = "[]", max_by(get(f"IterationOutput.Score.{SECONDS}"))
    outputs = loop.run()
    assert (outputs["status"], outputs["input_item_count"]) == ("Succeeded", 0)
    found = loop.records.steps(loop.execution.id)
    assert states(loop.pipeline, found)["Score"] == "Skipped"
    loop.others = ()
    assert status(loop.pipeline, found).status == "Succeeded"


def test_an_empty_list_skips_as_in_airflow(loop: Loop) -> None:
    loop.given, loop.engine = "[]", EngineSettings(skip_if_empty=True)
    with pytest.raises(StepSkipped, match="there are no items"):
        loop.run()
    loop.others = (code("Next", depends_on=["Fan"]),)
    found = states(loop.pipeline, loop.records.steps(loop.execution.id))
    assert (found["Fan"], found["Next"]) == ("Skipped", "Skipped")


@pytest.mark.parametrize(
    ("items", "given", "message"),
    [
        (parameter("Items"), "eu", "parameter Items: expected a JSON list such as .*, got 'eu'"),
        (parameter("Items"), '{"a": 1}', "expected a list, got {'a': 1}"),
        (plain([]), "", "IterableItems of step 'Fan': expected 1 to 100 items, got 0"),
        (plain([0] * 101), "", "expected 1 to 100 items, got 101"),
        (parameter("Other"), "", "Parameters.Other has no value: unknown or unset parameter"),
    ],
)
def test_wrong_items_fail(loop: Loop, items: Value, given: str, message: str) -> None:
    loop.items, loop.given = items, given
    with pytest.raises(StepFailed, match=message):
        loop.driver().begin()
    (attempt,) = loop.records.attempts(loop.execution.id, "Fan")
    assert attempt.state == "Failed"
    with pytest.raises(StepFailed, match=message):
        loop.driver().finish()


@pytest.mark.parametrize("limit", [0, 51, "2", True])
def test_wrong_limits_fail(loop: Loop, limit: Value) -> None:
    loop.limit = limit
    with pytest.raises(StepFailed, match="MaxConcurrency of step 'Fan': expected 1 to 50"):
        loop.driver().begin()


def test_items_never_change(loop: Loop) -> None:
    first = loop.driver().begin()
    loop.given = '[{"seconds": 99}]'
    assert loop.driver().begin() == first
    assert loop.driver(engine_try=2).begin() == first
    (begun,) = loop.records.attempts(loop.execution.id, "Fan")
    loop.records.save(begun.with_failure("lost-worker", "lost", state="Stopped"))
    assert loop.driver(engine_try=3).begin() == first
    loop.records.save(replace(begun, items=(7,)))  # a late worker
    assert loop.driver(engine_try=3).begin() == first
    assert loop.driver(generation=1, engine_try=4).begin() == first
    assert loop.driver(generation=2, engine_try=5, renew=True).begin() == [{"seconds": 99}]


def test_a_failed_iteration_lets_the_others_run(loop: Loop, aws: FakeSageMaker) -> None:
    loop.body, loop.others = [SCORE, EVAL], ()
    loop.fail("Score", 0)
    with pytest.raises(StepFailed, match=r"1 of 2 iterations did not succeed: Score-0: .*boom"):
        loop.run()
    assert seconds_of(aws) == [60, 90, 90]
    found = loop.records.steps(loop.execution.id)
    outputs = found["Fan"].outputs or {}
    counts = ("total_step_count", "succeeded_step_count", "failed_step_count")
    assert [outputs[name] for name in counts] == [4, 2, 1]
    assert status(loop.pipeline, found).status == "Failed"
    assert status(loop.pipeline, found).reason.startswith("step 'Score-0' failed: ")


def test_a_body_step_that_a_trigger_skips(loop: Loop, aws: FakeSageMaker) -> None:
    """It does not fail its iteration, which has nothing to handle."""
    handler = training("Handler", 60, depends_on=({"Step": "Score", "Trigger": "Failed"},))
    loop.body, loop.others = [SCORE, handler], ()
    for index in range(len(loop.driver().begin())):
        StepDriver(loop.task(SCORE, (index,))).run()
    assert loop.driver().finish()["status"] == "Succeeded"
    assert seconds_of(aws) == [60, 90]


def test_a_repeated_iteration_changes_the_end(loop: Loop) -> None:
    loop.others = ()
    loop.fail("Score", 1)
    with pytest.raises(StepFailed, match="Score-1"):
        loop.run()
    with pytest.raises(StepFailed, match="Score-1"):
        loop.driver().finish()
    assert len(loop.records.attempts(loop.execution.id, "Fan")) == 1
    loop.iterate(1, generation=1, engine_try=2)
    assert loop.driver().finish()["status"] == "Succeeded"


@pytest.mark.parametrize(
    ("pick", "values", "index"),
    [(max_by, [60, 90, 90], 1), (min_by, [70, 60, 60], 1), (max_by, [60], 0)],
)
def test_the_selected_iteration(loop: Loop, pick: Any, values: list[int], index: int) -> None:
    """Of several best iterations, it is the first."""
    loop.items, loop.others = plain([*values]), (BEST,)
    loop.body = [training("Score", get("ForEach.CurrentItem"))]
    loop.selector = pick(get(f"IterationOutput.Score.{SECONDS}"))
    outputs = loop.run()
    assert outputs["selected"] == {"step": "Score", "index": index}
    assert outputs["properties"] == {f"Selected.{SECONDS}": values[index]}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("TrainingImage", "iteration 0: .* has no value: step 'Score' has no such property"),
        ("RoleArn", "of iteration 0: expected a number, got 'arn:aws:iam"),
    ],
)
def test_the_selector_needs_numbers(loop: Loop, path: str, message: str) -> None:
    loop.selector = max_by(get(f"IterationOutput.Score.{path}"))
    with pytest.raises(StepFailed, match=f"Selector of step 'Fan': IterationOutput.*{message}"):
        loop.run()


def test_failed_iterations_are_not_selected(loop: Loop) -> None:
    loop.selector = max_by(get(f"IterationOutput.Score.{SECONDS}"))
    loop.fail("Score", 1)
    with pytest.raises(StepFailed, match="Score-1"):
        loop.run()
    (attempt,) = loop.records.attempts(loop.execution.id, "Fan")
    assert attempt.outputs is not None
    assert attempt.outputs["selected"] == {"step": "Score", "index": 0}


def test_later_steps_read_iterations_and_the_selected_one(loop: Loop, aws: FakeSageMaker) -> None:
    loop.body = [SCORE, EVAL]
    loop.selector = min_by(get(f"IterationOutput.Eval.{SECONDS}"))
    loop.run()
    for step in (LAST, BEST):
        StepDriver(loop.task(step)).run()
    assert seconds_of(aws)[-2:] == [90, 60]


def test_an_iteration_that_does_not_exist(loop: Loop) -> None:
    reference = get(f"Steps.Fan.IterationOutputs[5].Score.{SECONDS}")
    assert isinstance(reference, Get)
    loop.others = (training("Last", reference),)
    outputs = loop.run()
    with pytest.raises(StepFailed, match=r"IterationOutputs\[5\].*available: 2 iterations"):
        property_of(reference, outputs)


def test_a_stop_ends_the_loop_as_stopped(loop: Loop, aws: FakeSageMaker) -> None:
    loop.driver().begin()
    loop.records.request_stop(loop.execution.id)
    assert not aws.called("create")
    with pytest.raises(ExecutionStopped):
        StepDriver(loop.task(SCORE, (0,))).run()
    with pytest.raises(StepStopped, match="2 of 2 iterations were stopped"):
        loop.driver().finish()
    assert loop.records.steps(loop.execution.id)["Fan"].state == "Stopped"


def test_a_sweep_leaves_a_running_loop(loop: Loop) -> None:
    """No worker is at a ForEach while its body runs."""
    loop.driver().begin()
    ending = Ending(loop.records, loop.execution.id, lambda one: loop.backend)
    assert not list(lost_attempts(ending, lost_for=timedelta(seconds=-1)))


def test_slots_limit_the_iterations(records: ExecutionRecords) -> None:
    over: set[int] = set()

    def take(index: int) -> bool:
        return claim(records, "0123456789ab", "Fan", index, 2, lambda given: over & set(given))

    assert [take(index) for index in (0, 1, 2, 0)] == [True, True, False, True]
    over.add(0)
    assert [take(index) for index in (2, 3)] == [True, False]
    assert not records.attempts("0123456789ab")


def test_shown_names_and_items() -> None:
    assert iteration_name("Score", 3) == "Score-3"
    assert shown_item({"a": 1}) == '{"a": 1}'
    assert shown_item({"db_password": "hunter2"}) == '{"db_password": "***"}'
    assert len(shown_item("x" * 20000)) == LARGEST_ITEM


def code(name: str, *args: Value, **more: Any) -> PythonStep:
    step = Step(name, PYTHON, plain(call_arguments(args, {})), **more)
    return PythonStep.of(step, Function("f", ""))


class AirflowSkipException(Exception): ...


def coded(loop: Loop, items: Any, function: Any, *args: Value) -> dict[str, Any]:
    """The outputs of a loop over the result of a step, whose body calls ``function``."""
    loop.body, loop.others = [code("Score", *(args or [get("ForEach.CurrentItem")]))], ()
    loop.items = properties_of("List").return_value
    StepDriver(loop.task(code("List"), function=lambda: items)).run()
    return loop.run(function=function)


def test_results_of_code_are_the_return_value(loop: Loop) -> None:
    given: list[Any] = []
    days = [date(2026, 1, 30), date(2026, 1, 31)]
    outputs = coded(loop, days, lambda day: {"day": day, "next": day.day + 1})
    last = code("Last", properties_of("Fan").return_value[1]["day"], get("Steps.Fan.return_value"))
    StepDriver(loop.task(last, function=lambda *args: given.extend(args))).run()
    assert given[0] == days[1]
    assert given[1] == [{"day": days[0], "next": 31}, {"day": days[1], "next": 32}]
    assert "missing" not in outputs


def test_large_results_reach_the_reduction(loop: Loop) -> None:
    coded(loop, [1, 2, 3], lambda size: "x" * 30_000 * size)
    sizes: list[int] = []
    last = code("Last", get("Steps.Fan.return_value"))
    StepDriver(loop.task(last, function=lambda all_: sizes.extend(map(len, all_)))).run()
    assert sizes == [30_000, 60_000, 90_000]


def test_code_may_have_many_items(loop: Loop) -> None:
    assert coded(loop, list(range(150)), abs)["return_value"] == list(range(150))


def test_items_of_a_dict_are_its_pairs(loop: Loop) -> None:
    given: list[Any] = []
    coded(loop, {"a": 1, "b": 2}, given.append)
    assert given == [("a", 1), ("b", 2)]


def test_skipped_iterations_skip_what_needs_all(loop: Loop) -> None:
    def odd(item: int) -> int:
        if item % 2:
            return item
        raise AirflowSkipException

    outputs = coded(loop, [1, 2, 3], odd)
    assert (outputs["status"], outputs["return_value"]) == ("Succeeded", [1, 3])
    rules = ("", "none_failed_min_one_success", "one_success", "none_skipped", "all_done")
    after = [
        code(f"S{one}", depends_on=["Fan"], engine=EngineSettings(trigger_rule=one))
        for one in rules
    ]
    pipeline = Pipeline(steps=(loop.step, *after))
    found = states(pipeline, loop.records.steps(loop.execution.id))
    assert [found[f"S{one}"] for one in rules] == [
        "Skipped",
        "Pending",
        "Pending",
        "Skipped",
        "Pending",
    ]
