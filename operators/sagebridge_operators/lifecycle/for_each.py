"""Runs a ForEach step, except for its body, which the engine runs once for each item.

The step itself has one attempt. :meth:`ForEachDriver.begin` records the items in it, once, and
:meth:`ForEachDriver.finish` ends it, after the body: with the counts, the selected iteration and
the outputs that the pipeline refers to. A body step has one attempt for each index.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.display import words
from sagebridge.model.expressions import Get, Index, Key, Member, Token
from sagebridge.model.for_each import MAX_BY, ForEachStep, Selector, iteration_name
from sagebridge.model.pipeline import Pipeline, Steps
from sagebridge.model.step_types import snake_case
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle import opening
from sagebridge_operators.lifecycle.attempt import Attempt, Failure
from sagebridge_operators.lifecycle.for_each_items import (
    PATIENCE,
    has_code,
    is_code,
    items_of,
    limit_of,
    recorded,
    short,
    shown_item,
)
from sagebridge_operators.lifecycle.job_request import resolver
from sagebridge_operators.lifecycle.outages import code_of, patiently
from sagebridge_operators.lifecycle.outputs import check_size, path_text, property_of
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import states
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.lifecycle.user_code.step_context import stored
from sagebridge_operators.run_errors import (
    ERROR_OF_STATE,
    ExecutionStopped,
    FinalState,
    RecordsUnreachable,
    StepFailed,
    Unresolvable,
)

_MOST_REASONS = 5
Iterations = Mapping[tuple[str, int], Attempt]
"""The latest attempt of each body step and index that has started."""


@dataclass(slots=True)
class ForEachDriver:
    """Begins and finishes a ForEach step. ``task.step`` is a ForEachStep.

    Args:
        renew: whether a new generation resolves the items again, as after a task was cleared.
            Otherwise the items of an execution never change.
    """

    task: StepTask
    log: Log
    renew: bool = False
    killed: bool = False
    attempt: Attempt | None = field(default=None, init=False)

    @property
    def reason(self) -> str:
        """Why the step failed or was stopped; empty while it runs or after a success."""
        return self.attempt.reason if self.attempt is not None else ""

    def begin(self) -> list[Any]:
        """Records the items and returns them. A repeated call returns the recorded ones.

        Raises StepFailed if there is no list of items or no valid limit, ExecutionStopped after a
        stop request, and RecordsUnreachable.
        """
        records = self.task.records
        wanted = self._wanted()
        with records.attend(wanted):
            chosen, _ = patiently(lambda: opening.choose_attempt(records, wanted), PATIENCE)
            self.attempt = chosen
            if chosen.end is not None and chosen.end.state != "Succeeded" and chosen.items is None:
                failure = chosen.end.failure
                raise StepFailed(chosen.reason, kind=failure.kind if failure else None)
            if chosen.items is None:
                try:
                    chosen = self._record_items(chosen)
                except SagebridgeError as refused:
                    self._record_failure(refused)
                    raise
        items = list(chosen.items or ())
        self.log.info("%s", "\n".join([f"{len(items)} items", *map(shown_item, items)]))
        return items

    def _record_items(self, attempt: Attempt) -> Attempt:
        task = self.task
        if self.killed or patiently(
            lambda: task.records.stop_requested(task.execution.id), PATIENCE
        ):
            raise ExecutionStopped
        earlier = patiently(self._recorded, PATIENCE)
        items = None if earlier is None or self._renews(earlier, attempt) else earlier.items
        if items is None:
            items = tuple(self._resolve())
        planned = replace(attempt, items=items)
        self.attempt = patiently(lambda: task.records.save(planned), PATIENCE)
        return self.attempt

    def _renews(self, earlier: Attempt, attempt: Attempt) -> bool:
        return self.renew and earlier.generation != attempt.generation

    def _resolve(self) -> list[Any]:
        resolve = resolver(self.task, tagged=has_code(_for_each(self.task)))

        def resolved() -> list[Any]:
            limit_of(_for_each(self.task), resolve)
            return items_of(_for_each(self.task), resolve)

        return patiently(resolved, PATIENCE)

    def finish(self) -> dict[str, Any]:
        """Ends the step and returns its outputs. Call it when no step of the body runs any more.

        The outputs are ``status``, the counts, ``selected`` (step and index), ``properties`` and,
        if the last body step is code, ``return_value``: the list of its results.
        Those of a failed step are recorded, too. Raises StepFailed if an iteration did not succeed
        or the selector has no number to compare, StepStopped if one was only stopped, StepSkipped
        if there are no items and the step has ``skip_if_empty``, and RecordsUnreachable.
        """
        task, step = self.task, _for_each(self.task)
        begun = self.attempt = patiently(self._latest, PATIENCE)
        if begun is None or begun.items is None:
            reason = begun.reason if begun is not None else ""
            raise StepFailed(reason or "its items were not resolved", kind="lost-worker")
        items = begun.items
        iterations = patiently(
            lambda: iterations_of(task.records, task.execution.id, step, len(items)), PATIENCE
        )
        stopping = patiently(lambda: task.records.stop_requested(task.execution.id), PATIENCE)
        result = _reduced(step, iterations, len(items), task.references, stopping=stopping)
        if is_code(step):
            results = _results(step.inner[-1].name, iterations, len(items))
            result.outputs[RETURN_VALUE] = stored(task.records, begun, RETURN_VALUE, results)
        if begun.end is not None and not stopping:  # the body, or part of it, ran again
            same = (begun.end.state, begun.end.outputs) == (result.state, result.outputs)
            if not same:
                begun = replace(begun, phase="planned", end=None, number=begun.number + 1)
        if begun.end is None:
            ended = begun.with_end(result.state, result.failure, result.outputs)
            begun = patiently(lambda: task.records.save(ended), PATIENCE)
        self.attempt = begun
        task.on_request({name: result.outputs[name] for name in _SHOWN if name in result.outputs})
        assert begun.end is not None
        if begun.end.state == "Succeeded":
            return dict(begun.end.outputs or {})
        kind = begun.end.failure.kind if begun.end.failure else None
        raise ERROR_OF_STATE.get(begun.end.state, StepFailed)(begun.reason, kind=kind)

    def give_up(self, error: Exception) -> None:
        """Records an error after which the engine does not try again."""
        if self.attempt is not None and self.attempt.end is None:
            text = f"{type(error).__name__}: {error}"
            self._save(self.attempt.with_failure("service", text, code_of(error)))

    def _record_failure(self, refused: SagebridgeError) -> None:
        attempt = self.attempt
        if attempt is None or attempt.end is not None or isinstance(refused, RecordsUnreachable):
            return
        if isinstance(refused, StepFailed):
            ended = attempt.with_failure(refused.kind, str(refused), state=refused.state)
        else:
            ended = attempt.with_failure("service", str(refused), type(refused).__name__)
        self._save(ended)

    def _save(self, attempt: Attempt) -> None:
        with suppress(RecordsUnreachable):
            self.attempt = self.task.records.save(attempt)

    def _wanted(self) -> Attempt:
        task = self.task
        return opening.first_attempt(
            task.execution.id,
            task.step.name,
            task.step.type,
            generation=task.generation,
            engine_try=task.engine_try,
            settings=task.settings,
        )

    def _latest(self) -> Attempt | None:
        task = self.task
        known = task.records.attempts(task.execution.id, task.step.name, ())
        return max(known, key=lambda one: one.order, default=None)

    def _recorded(self) -> Attempt | None:
        return recorded(self.task.records, self.task.execution.id, self.task.step.name)


def iterations_of(
    records: ExecutionRecords, execution: str, step: ForEachStep, count: int
) -> dict[tuple[str, int], Attempt]:
    """The latest attempts of the first ``count`` iterations."""
    found: dict[tuple[str, int], Attempt] = {}
    for inner in step.inner:
        for one in sorted(records.attempts(execution, inner.name), key=lambda one: one.order):
            if len(one.index) == 1 and one.index[0] < count:
                found[inner.name, one.index[0]] = one
    return found


_SHOWN = words(
    "status input_item_count total_step_count succeeded_step_count failed_step_count "
    "stopped_step_count selected"
)


@dataclass(frozen=True, slots=True)
class _Result:
    state: FinalState
    outputs: dict[str, Any]
    failure: Failure | None = None


def _reduced(
    step: ForEachStep,
    iterations: Iterations,
    count: int,
    references: Sequence[Get],
    *,
    stopping: bool,
) -> _Result:
    """The end of a ForEach that follows from its iterations."""
    failed = dict(_not_succeeded(step.inner, iterations, count, stopping=stopping))
    failure = _failure(list(failed.values()), count) if failed else None
    candidates = [index for index in range(count) if index not in failed]
    selected = None
    if candidates and step.selector is not ABSENT:
        try:
            selected = _select(step, step.selector, iterations, candidates)
        except StepFailed as refused:
            failure = failure or Failure(refused.kind, str(refused))
    state: FinalState = "Succeeded"
    if not count and step.engine.skip_if_empty:
        state, failure = "Skipped", Failure("skipped", "there are no items (skip_if_empty)")
    elif failure is not None:
        state = "Stopped" if failure.kind == "stopped" else "Failed"
    states = [one.state for one in iterations.values()]
    skipped = {index for (_, index), one in iterations.items() if one.state == "Skipped"}
    document: dict[str, Any] = {
        "Status": state,
        "InputItemCount": count,
        "TotalStepCount": count * len(step.inner),
        "SucceededStepCount": states.count("Succeeded"),
        "FailedStepCount": states.count("Failed"),
        "StoppedStepCount": states.count("Stopped"),
    }
    counts = {snake_case(name): value for name, value in document.items() if name != "Status"}
    outputs = {"step": step.name, "type": step.type, "status": state, **counts}
    if skipped:
        outputs["skipped_iterations"] = len(skipped)
    if selected is not None:
        outputs["selected"] = {"step": _selector_step(step), "index": selected}
    outputs |= _properties(step, document, iterations, selected, count, references)
    try:
        check_size(step.name, outputs)
    except StepFailed as refused:
        for name in ("properties", "missing"):
            outputs.pop(name, None)
        state, failure = "Failed", failure or Failure(refused.kind, str(refused))
        outputs["status"] = state
    return _Result(state, outputs, failure)


def _results(name: str, iterations: Iterations, count: int) -> list[Any]:
    """The results of a body step of code, in the order of the items; skipped ones are left out."""
    found = (iterations.get((name, index)) for index in range(count))
    outputs = [one.outputs or {} for one in found if one is not None]
    return [one[RETURN_VALUE] for one in outputs if RETURN_VALUE in one]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why an iteration did not succeed: the first of its steps that failed or was stopped."""

    step: str
    state: str
    reason: str


def _not_succeeded(
    body: Steps, iterations: Iterations, count: int, *, stopping: bool
) -> Iterator[tuple[int, _Problem]]:
    """The iterations that did not succeed. After a stop request, the others were stopped."""
    for index in range(count):
        found = [(inner.name, iterations.get((inner.name, index))) for inner in body]
        bad = [one for _, one in found if one is not None and one.state in ("Failed", "Stopped")]
        if bad:
            first = min(bad, key=lambda one: (one.state != "Failed", one.ended))
            reason = first.reason or "no reason was given"
            yield index, _Problem(iteration_name(first.step, index), first.state, reason)
            continue
        reached = states(Pipeline(steps=body), {name: one for name, one in found if one})
        for name, one in found:
            if reached[name] not in ("Succeeded", "Skipped"):
                reason = "did not run" if one is None else "its worker was lost"
                state = "Stopped" if stopping else "Failed"
                yield index, _Problem(iteration_name(name, index), state, reason)
                break


def _failure(problems: Sequence[_Problem], count: int) -> Failure:
    stopped = all(one.state == "Stopped" for one in problems)
    what = "were stopped" if stopped else "did not succeed"
    reasons = [f"{one.step}: {one.reason}" for one in problems[:_MOST_REASONS]]
    more = len(problems) - _MOST_REASONS
    listed = "; ".join([*reasons, *([f"and {more} more"] if more > 0 else [])])
    text = f"{len(problems)} of {count} iterations {what}: {listed}"
    return Failure("stopped" if stopped else "iterations", text)


def _select(
    step: ForEachStep, selector: Selector, iterations: Iterations, candidates: Sequence[int]
) -> int:
    """The first index with the largest or smallest value. Raises StepFailed."""
    name, field_ = _selector_step(step), selector.field
    assert isinstance(field_, Get)
    values: dict[int, float] = {}
    for index in candidates:
        place = f"Selector of step {step.name!r}: {field_.text} of iteration {index}"
        try:
            value = _value(iterations, name, index, field_.tokens[1:])
        except Unresolvable as missing:
            raise StepFailed(f"{place}: {missing}", kind="unresolvable") from None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or math.isnan(value):
            raise StepFailed(f"{place}: expected a number, got {short(value)}", kind="unresolvable")
        values[index] = value
    best = max if selector.pick == MAX_BY else min
    return best(values, key=lambda index: values[index])


def _properties(
    step: ForEachStep,
    document: Mapping[str, Any],
    iterations: Iterations,
    selected: int | None,
    count: int,
    references: Sequence[Get],
) -> dict[str, Any]:
    """The properties of a ForEach that the pipeline refers to, as other steps' outputs."""
    properties: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    for reference in references:
        path = path_text(reference)
        try:
            match reference.tokens[1:]:
                case (Member(name) | Key(name),) if name in document:
                    properties[path] = document[name]
                case (Member("IterationOutputs"), Index(index), Member(name) | Key(name), *rest):
                    properties[path] = _value(iterations, name, index, rest)
                case (Member("Selected"), *rest) if selected is not None:
                    properties[path] = _value(iterations, _selector_step(step), selected, rest)
                case (Member("return_value") | Key("return_value"), *_):  # an output
                    pass
                case _:
                    missing[path] = [f"{count} iterations"]
        except Unresolvable:
            missing[path] = [f"{count} iterations"]
    found = {"properties": properties, "missing": missing}
    return {name: value for name, value in found.items() if value}


def _value(iterations: Iterations, name: str, index: int, rest: Sequence[Token]) -> Any:
    """A property of a body step in one iteration. Raises Unresolvable."""
    there = iterations.get((name, index))
    reference = Get("Steps", (Member(name), *rest))
    return property_of(reference, there.outputs if there is not None else None)


def _selector_step(step: ForEachStep) -> str:
    selector_field = None if step.selector is ABSENT else step.selector.field
    return selector_field.name if isinstance(selector_field, Get) else ""


def _for_each(task: StepTask) -> ForEachStep:
    assert isinstance(task.step, ForEachStep)
    return task.step
