"""The builder of a traced flow: step functions of sagebridge add their steps to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.pipeline_builder import PipelineBuilder, StepHandle
from sagebridge.formats.prefect.tracing.path_merging import WithBlock
from sagebridge.formats.prefect.tracing.server_values import ServerValue
from sagebridge.formats.prefect.tracing.symbols import (
    Symbol,
    UnsupportedValue,
    definition_value,
    holds_symbol,
)
from sagebridge.formats.prefect.tracing.task_calls import steps_of
from sagebridge.model.code_steps import CarriedStep, PythonStep
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.values import Value

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace


_NOT_JSON = frozenset(("aws_credentials", "conditions", "depends_on"))
"""Arguments of a step function that are read on their own."""


class TracedBuilder(PipelineBuilder):
    """A builder whose step functions accept arguments with symbols."""

    def __init__(
        self, trace: FlowTrace, name: str, arguments: Sequence[Any], description: str | None
    ) -> None:
        super().__init__(name, arguments, description)
        self.trace = trace
        self._inside: list[tuple[str, str]] = []

    @property
    def inside(self) -> WithBlock:
        """The innermost open with block."""
        return self._inside[-1] if self._inside else None

    def begin(self, **more: Any) -> None:
        super().begin(**{name: self._plain(value, name) for name, value in more.items()})

    def step(self, type_: str, name: str, **arguments: Any) -> StepHandle:
        self._check(name)
        if type_ != "Condition" and (why := self._unsupported(arguments)):
            before = dict.fromkeys(steps_of(list(arguments.values())))
            return self.add(self.trace.drop(Step(name, type_, depends_on=tuple(before)), why))
        given = {one: self._plain(value, one) for one, value in arguments.items()}
        return super().step(type_, name, **given)

    def _unsupported(self, arguments: Mapping[str, Any]) -> str:
        """What no parameter can hold in the arguments of a step; empty if there is nothing."""
        values = [one for name, one in arguments.items() if name not in _NOT_JSON]
        try:
            definition_value(values, self.trace)
        except UnsupportedValue as why:
            return str(why) if holds_symbol(values, 12) else ""
        return ""

    def python(self, name: str, function: Any, **more: Any) -> StepHandle:
        self._check(name)
        given = {one: self._plain(value) for one, value in more.items()}
        return super().python(name, function, **given)

    def shell(self, name: str, command: Value, **more: Any) -> StepHandle:
        self._check(name)
        given = {one: self._plain(value) for one, value in more.items()}
        return super().shell(name, self._plain(command), **given)

    def aws_call(self, name: str, service: str, operation: str = "", **given: Any) -> StepHandle:
        self._check(name)
        given = {one: self._plain(value) for one, value in given.items()}
        return super().aws_call(name, service, operation, **given)

    def stub(self, name: str, reason: Value, **more: Any) -> StepHandle:
        self._check(name)
        given = {one: self._plain(value) for one, value in more.items()}
        self.trace.report(
            "stub",
            "dropped",
            f"{name} is a stub: {reason}",
            "replace it with a step",
            step=name,
        )
        return super().stub(name, self._plain(reason), **given)

    def _check(self, name: Any) -> None:
        if type(name) is not str or holds_symbol(name):
            self.trace.stop("run-time-code", "a run-time value is used as a step name")

    def _plain(self, value: Any, name: str = "") -> Any:
        if name == "aws_credentials" and type(value) is Symbol:
            found: Any = value._expression
            return found.name if type(found) is ServerValue else value
        if isinstance(value, list | tuple) and any(isinstance(one, StepHandle) for one in value):
            return [one if isinstance(one, StepHandle) else self._plain(one) for one in value]
        try:
            return definition_value(value, self.trace)
        except UnsupportedValue as why:
            if holds_symbol(value):
                self.trace.stop("run-time-code", f"an argument of a step is {why}")
            return value

    def add(self, step: Step) -> StepHandle:
        if isinstance(step, PythonStep):
            step = self.trace.code_step(step, self.functions[step.name])
        elif isinstance(step, CarriedStep):
            step = replace(step, origin=self.trace.here())
        handle = super().add(step)
        self.trace.record_step(step, self.inside)
        return handle

    @contextmanager
    def block(self, step: str, field: str) -> Iterator[None]:
        self._inside.append((step, field))
        try:
            with super().block(step, field):
                yield
        finally:
            self._inside.pop()

    def decide(self, condition: str) -> bool:
        step = self.steps[condition]
        assert isinstance(step, ConditionStep)
        return self.trace.outcome(condition, step.conditions or (), own=True)
