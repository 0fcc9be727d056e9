"""The builder of a traced flow: step functions of sagebridge add their steps to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.pipeline_builder import ConditionHandle, PipelineBuilder, StepHandle
from sagebridge.errors import FlowError
from sagebridge.formats.prefect.recording.symbols import (
    UnsupportedValue,
    definition_value,
    holds_symbol,
    is_symbol,
    leaves,
    result_step,
)
from sagebridge.model.code_steps import CarriedStep, PythonStep
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.values import Value

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace


_NOT_JSON = frozenset(("aws_credentials", "conditions", "depends_on"))
"""Arguments of a step function that are read on their own."""


class TracedBuilder(PipelineBuilder):
    """A builder whose step functions accept arguments with run-time values."""

    def __init__(
        self, trace: FlowTrace, name: str, arguments: Sequence[Any], description: str | None
    ) -> None:
        super().__init__(name, arguments, description)
        self.trace = trace

    def begin(self, **more: Any) -> None:
        super().begin(**{name: self._plain(value, name) for name, value in more.items()})

    def step(self, type_: str, name: str, **arguments: Any) -> StepHandle:
        if type_ != "Condition" and (why := self._unsupported(arguments)):
            found = [result_step(one) for one in leaves(list(arguments.values()))]
            before = dict.fromkeys(one for one in found if one is not None)
            return self.add(self.trace.drop(Step(name, type_, depends_on=tuple(before)), why))
        given = {one: self._plain(value, one) for one, value in arguments.items()}
        return super().step(type_, name, **given)

    def _unsupported(self, arguments: Mapping[str, Any]) -> str:
        """What no parameter can hold in the arguments of a step; empty if there is nothing."""
        values = [one for name, one in arguments.items() if name not in _NOT_JSON]
        found = next((one for one in leaves(values, 12) if is_symbol(one)), None)
        if found is None:
            return ""
        if found._code is None:
            return "a list, dict or object that is only known at run time"
        return f"{ast.unparse(found._code)}, which is only known at run time"

    def python(self, name: str, function: Any, **more: Any) -> StepHandle:
        given = {one: self._plain(value) for one, value in more.items()}
        return super().python(name, function, **given)

    def shell(self, name: str, command: Value, **more: Any) -> StepHandle:
        given = {one: self._plain(value) for one, value in more.items()}
        return super().shell(name, self._plain(command), **given)

    def aws_call(self, name: str, service: str, operation: str = "", **given: Any) -> StepHandle:
        given = {one: self._plain(value) for one, value in given.items()}
        return super().aws_call(name, service, operation, **given)

    def stub(self, name: str, reason: Value, **more: Any) -> StepHandle:
        given = {one: self._plain(value) for one, value in more.items()}
        what = f"{name} is a stub: {reason}"
        self.trace.report("stub", "dropped", what, "replace it with a step", step=name)
        return super().stub(name, self._plain(reason), **given)

    def _plain(self, value: Any, name: str = "") -> Any:
        if name == "aws_credentials" and is_symbol(value):
            match value._code:
                case ast.Call(args=[ast.Constant(value=str() as block)]):
                    return block
        if isinstance(value, list | tuple) and any(isinstance(one, StepHandle) for one in value):
            return [one if isinstance(one, StepHandle) else self._plain(one) for one in value]
        try:
            return definition_value(value)
        except UnsupportedValue:
            if holds_symbol(value):
                raise
            return value

    def add(self, step: Step) -> StepHandle:
        if step.name in self.trace.state.steps:
            raise FlowError(self.name, f"two steps have the name {step.name!r}")
        if isinstance(step, PythonStep):
            found = self.trace.code_step(step, self.functions[step.name])
            step = replace(found, engine=step.engine)
        elif isinstance(step, CarriedStep):
            step = replace(step, origin=self.trace.here())
        if tags := self.trace.tags:
            step = replace(step, engine=replace(step.engine, tags=(*step.engine.tags, *tags)))
        self.steps[step.name] = step
        self.trace.record_step(step)
        if isinstance(step, ConditionStep):
            return ConditionHandle(step.name, self)
        handle = self.for_each_handle if isinstance(step, ForEachStep) else self.step_handle
        return handle(step.name, self)

    def finish(self) -> None:
        """The steps have ended: what the flow runs later comes after them."""
        own = (one.name for one in self.trace.state.nodes if one.name in self.steps)
        self.trace.state.ended.update(dict.fromkeys(own))

    @contextmanager
    def block(self, step: str, field: str) -> Iterator[None]:
        with self.trace.block(step, field):
            yield
