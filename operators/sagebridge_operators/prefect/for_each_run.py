"""The iterations of a ForEach step in a flow run: one task run per body step and item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.for_each import ForEachDriver
from sagebridge_operators.lifecycle.for_each_items import limit_of
from sagebridge_operators.lifecycle.iterations import iteration_states
from sagebridge_operators.lifecycle.job_request import resolver
from sagebridge_operators.prefect.step_keys import StepKey, Upstream


@dataclass(slots=True)
class ForEachRun(ForEachDriver):
    """A ForEach step in a flow run.

    The flow's thread begins it and submits its iterations. Its own task run, which follows all of
    them, calls :meth:`run`.
    """

    items: Sequence[Any] = field(default=(), init=False)
    _limit: int = field(default=1, init=False)
    _problem: Exception | None = field(default=None, init=False)
    _upstream: dict[str, list[str]] = field(default_factory=dict, init=False)
    _attended: ExitStack = field(default_factory=ExitStack, init=False)

    @property
    def step(self) -> ForEachStep:
        step = self.task.step
        assert isinstance(step, ForEachStep)
        return step

    def start(self) -> None:
        """Records the items. An error is raised later, by the task run of the step."""
        body = self.step.inner
        edges = graph(Pipeline(steps=body))
        self._upstream = {one.name: list(edges.predecessors(one.name)) for one in body}
        try:
            items = self.begin()
            self._limit = limit_of(self.step, resolver(self.task))
        except Exception as error:  # noqa: BLE001 - raised in run()
            self._problem = error
            return
        self.items = items
        if self.attempt is not None:  # otherwise a stop or a sweep would take it for lost
            self._attended.enter_context(self.task.records.attend(self.attempt))

    def run(self) -> dict[str, Any]:
        """Ends the step and returns its outputs, or raises why its items are not known."""
        with self._attended:
            if self._problem is not None:
                raise self._problem
            return self.finish()

    def abandon(self) -> None:
        """Ends the step after an interruption, when no iteration runs any more."""
        with self._attended, suppress(Exception):  # the records may be why the flow run ends
            if self.attempt is not None and self.attempt.running:
                self.finish()

    def ready(
        self,
        attempts: Mapping[StepKey, Attempt],
        is_submitted: Callable[[StepKey], bool],
        has_ended: Callable[[StepKey], bool],
    ) -> Iterator[tuple[StepKey, str, Upstream]]:
        """The body steps that can be submitted now, with their states and upstream steps.

        At most MaxConcurrency iterations are live; an iteration is live until all its steps have
        ended. Iterations start in the order of the items.
        """
        live = 0
        for index in range(len(self.items)):
            keys = self.keys(index)
            if all(map(has_ended, keys)):
                continue
            if live == self._limit:
                return
            live += 1
            upstream = {
                key: [StepKey(name, key.index) for name in self._upstream[key.step]]
                for key in keys
                if not is_submitted(key)
            }
            found = [key for key, before in upstream.items() if all(map(has_ended, before))]
            reached = self.states(attempts, index) if found else {}
            for key in found:
                yield key, reached[key], {one: reached[one] for one in upstream[key]}

    def keys(self, index: int) -> list[StepKey]:
        """The task runs of one iteration."""
        return [StepKey(inner.name, (index,)) for inner in self.step.inner]

    def states(self, attempts: Mapping[StepKey, Attempt], index: int) -> dict[StepKey, str]:
        """The state of each task run of one iteration."""
        known = {(key.step, key.index[-1]): one for key, one in attempts.items() if key.index}
        found = iteration_states(self.step, known, index)
        return {StepKey(name, (index,)): state for name, state in found.items()}

    def all_keys(self) -> Iterator[StepKey]:
        """The task runs of all iterations."""
        return (key for index in range(len(self.items)) for key in self.keys(index))

    def all_states(self, attempts: Mapping[StepKey, Attempt]) -> dict[StepKey, str]:
        """The states of the task runs of all iterations."""
        return {
            key: state
            for index in range(len(self.items))
            for key, state in self.states(attempts, index).items()
        }
