"""The steps of an execution as users see them: a body step of a ForEach once for each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sagebridge.model.for_each import ForEachStep, iteration_name
from sagebridge.model.pipeline import Pipeline, Step, Steps
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.for_each_items import shown_item
from sagebridge_operators.lifecycle.records import by_step
from sagebridge_operators.lifecycle.step_states import End, State, states

Iterations = Mapping[tuple[str, int], Attempt]
"""The attempt of each body step and index that has started."""
_ENDED: End = {"status": "Stopped"}


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of an execution, or a body step of a ForEach for one item.

    ``item`` is shortened, as in a record of the service; None without an item.
    """

    step: Step
    state: State
    attempt: Attempt | None = None
    index: int | None = None
    item: str | None = None

    @property
    def name(self) -> str:
        name = self.step.name
        return name if self.index is None else iteration_name(name, self.index)


def step_rows(
    pipeline: Pipeline, attempts: Iterable[Attempt], end: End | None = None
) -> list[StepRow]:
    """The steps in the order of the definition, and the body steps of a ForEach for each item.

    A body step whose items are not known has one row. ``attempts`` are the latest ones of each step
    and index; ``end`` is the record of the execution's end.
    """
    found = list(attempts)
    known = by_step(found)
    reached = states(pipeline, known, end)
    every = {(one.step, one.index[-1]): one for one in found if one.index}

    def rows(steps: Steps) -> Iterator[StepRow]:
        for step in steps:
            attempt = known.get(step.name)
            yield StepRow(step, reached[step.name], attempt)
            count = _count(step, attempt, every)
            if isinstance(step, ForEachStep) and count:
                yield from _iterations(step, attempt, every, count, end)
            else:
                yield from rows(step.inner)

    return list(rows(pipeline.steps))


def iteration_states(
    step: ForEachStep, iterations: Iterations, index: int, *, ended: bool = False
) -> dict[str, State]:
    """The state of each body step in one iteration. After ``ended`` no further step starts."""
    known = {
        inner.name: found
        for inner in step.inner
        if (found := iterations.get((inner.name, index))) is not None
    }
    return states(Pipeline(steps=step.inner), known, _ENDED if ended else None)


def _count(step: Step, attempt: Attempt | None, iterations: Iterations) -> int:
    """How many items a ForEach has, as far as its attempts show."""
    if attempt is not None and attempt.items is not None:
        return len(attempt.items)
    inner = {one.name for one in step.inner}
    return max((index + 1 for name, index in iterations if name in inner), default=0)


def _iterations(
    step: ForEachStep, attempt: Attempt | None, iterations: Iterations, count: int, end: End | None
) -> Iterator[StepRow]:
    ended = end is not None or (attempt is not None and not attempt.running)
    items = (attempt.items if attempt is not None else None) or ()
    for index in range(count):
        reached = iteration_states(step, iterations, index, ended=ended)
        item = shown_item(items[index]) if index < len(items) else None
        for inner in step.inner:
            found = iterations.get((inner.name, index))
            yield StepRow(inner, reached[inner.name], found, index, item)
