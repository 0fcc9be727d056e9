"""Builds a pipeline from one call per step: in a flow run, a trace, or the source of a flow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sagebridge.authoring.declared_names import unknown_arguments
from sagebridge.authoring.file_arguments import (
    assemble,
    definition_keys,
    in_definition_order,
    request_keys,
    step_order,
)
from sagebridge.authoring.flow_settings import FLOW_ARGUMENTS, LiveHook, read_settings
from sagebridge.authoring.flow_signature import FlowArgument, parameters_of
from sagebridge.authoring.plain_cron import with_expression
from sagebridge.authoring.step_arguments import SETTINGS, make_step
from sagebridge.errors import FlowError
from sagebridge.model.aws_calls import ARGUMENTS as CALL_ARGUMENTS
from sagebridge.model.aws_calls import aws_call_arguments
from sagebridge.model.code_steps import (
    AWS_CALL,
    PYTHON,
    SHELL,
    STUB,
    AwsCallStep,
    PythonStep,
    ShellStep,
    StubStep,
    call_arguments,
    shell_arguments,
    stub_arguments,
)
from sagebridge.model.connections import PREFECT_ARGUMENTS, connects
from sagebridge.model.engine_settings import NO_SETTINGS
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.expressions import Properties, properties_of
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.functions import Function
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, EMPTY, Value, freeze

CURRENT: ContextVar[PipelineBuilder | None] = ContextVar("sagebridge_builder", default=None)
"""The builder that step functions add to while a flow is traced."""


@dataclass(frozen=True)
class StepHandle:
    """A step of a flow."""

    name: str
    builder: PipelineBuilder

    @property
    def properties(self) -> Properties:
        """The step's outputs, as ``properties.A.B["c"]``: values once the step has ended."""
        return self.builder.properties(self.name)


class ConditionHandle(StepHandle):
    """A condition. Its branches are the blocks ``with check.met():`` and ``with check.unmet():``.

    A plain ``if check:`` works too; it blocks the flow until the condition is evaluated.
    """

    @contextmanager
    def met(self) -> Iterator[None]:
        """Steps declared in this block run if all conditions hold."""
        with self.builder.branch(self.name, met=True):
            yield

    @contextmanager
    def unmet(self) -> Iterator[None]:
        """Steps declared in this block run if a condition does not hold."""
        with self.builder.branch(self.name, met=False):
            yield

    def __bool__(self) -> bool:
        return self.builder.decide(self.name)


class ForEachHandle(StepHandle):
    """A loop. Its body is the block ``with fan.body():``."""

    @contextmanager
    def body(self) -> Iterator[None]:
        """Steps declared in this block run once for each item, ``current_item``."""
        with self.builder.block(self.name, "body"):
            yield


class PipelineBuilder:
    """Collects the steps, parameters and settings of a flow.

    Args:
        name: the name of the flow, and of the pipeline unless ``begin`` sets another.
        arguments: the signature of the flow.
        description: the description of the pipeline.
    """

    step_handle: ClassVar[type[StepHandle]] = StepHandle
    condition_handle: ClassVar[type[ConditionHandle]] = ConditionHandle
    for_each_handle: ClassVar[type[ForEachHandle]] = ForEachHandle

    def __init__(
        self, name: str, arguments: Sequence[FlowArgument] = (), description: str | None = None
    ) -> None:
        self.name, self.arguments, self.description = name, tuple(arguments), description
        self.definition: dict[str, Value] = {}
        self.envelope: dict[str, Any] = {}
        self.schedules: Sequence[Schedule] = ()
        self.event_triggers: Sequence[EventTrigger] = ()
        self.settings: dict[str | None, dict[str, Any]] = {}
        self.engine = NO_SETTINGS
        self.steps: dict[str, Step] = {}
        self.functions: dict[str, Any] = {}
        self.hooks: dict[str | None, list[LiveHook]] = {}
        self.inner: dict[tuple[str, str], list[str]] = {}
        self._top: list[str] = []
        self._open: list[list[str]] = [self._top]

    def begin(
        self,
        *,
        definition: Mapping[str, Value] = EMPTY,
        pipeline: Mapping[str, Value] = EMPTY,
        schedules: Sequence[Schedule] = (),
        event_triggers: Sequence[EventTrigger] = (),
        **settings: Any,
    ) -> None:
        """Set the keys other than steps and parameters, by AWS's names, and where steps run."""
        self.definition = dict(definition_keys(definition))
        self.envelope = request_keys(pipeline)
        self.schedules = [with_expression(one) for one in schedules]
        self.event_triggers = event_triggers
        self.engine, self.hooks[None] = read_settings(
            {one: settings.pop(one) for one in FLOW_ARGUMENTS if one in settings}
        )
        self.settings[None] = _settings("begin", settings)

    def step(self, type_: str, name: str, **arguments: Any) -> StepHandle:
        """Add a step to the open branch. Raises :class:`FlowError`."""
        return self.add(make_step(type_, name, **self._without_settings(name, arguments)))

    def python(
        self,
        name: str,
        function: Any,
        *,
        args: Sequence[Value] = (),
        kwargs: Mapping[str, Value] = EMPTY,
        unpacked: Value = ABSENT,
        role: str = "",
        context: bool = False,
        **more: Any,
    ) -> StepHandle:
        """Add a call of a function, given as source or live. Raises :class:`FlowError`."""
        given = call_arguments(args, kwargs)
        if unpacked is not ABSENT:
            given["unpacked"] = unpacked
        step = make_step(PYTHON, name, arguments=given, **self._without_settings(name, more))
        if not isinstance(function, Function):
            if not callable(function):
                raise TypeError(f"python() expects a function, got {function!r}")
            self.functions[name] = function
            function = Function(getattr(function, "__name__", ""), "")
        return self.add(PythonStep.of(step, function, role=role, context=context))

    def shell(
        self,
        name: str,
        command: Value,
        *,
        env: Mapping[str, Value] | None = None,
        append_env: bool = False,
        **more: Any,
    ) -> StepHandle:
        """Add a bash command. Raises :class:`FlowError`."""
        given = shell_arguments(command, env, append_env)
        return self.add(
            ShellStep.of(
                make_step(SHELL, name, arguments=given, **self._without_settings(name, more))
            )
        )

    def aws_call(self, name: str, service: str, operation: str = "", **given: Any) -> StepHandle:
        """Add a call of an AWS API. Raises :class:`FlowError`."""
        call = {one: given.pop(one) for one in CALL_ARGUMENTS if one in given}
        arguments = aws_call_arguments(service, operation, **call)
        more = self._without_settings(name, given)
        return self.add(AwsCallStep.of(make_step(AWS_CALL, name, arguments=arguments, **more)))

    def stub(
        self,
        name: str,
        reason: Value,
        *,
        dropped_from: Value = "",
        source: Sequence[Value] = (),
        **more: Any,
    ) -> StepHandle:
        """Add the stub of a dropped task. Raises :class:`FlowError`."""
        given = stub_arguments(reason, dropped_from, source)
        return self.add(
            StubStep.of(
                make_step(STUB, name, arguments=given, **self._without_settings(name, more))
            )
        )

    def _without_settings(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Store the arguments that control how the step runs, and return the others."""
        self.settings[name] = {one: arguments[one] for one in SETTINGS if one in arguments}
        engine, self.hooks[name] = read_settings(arguments, f"step {name!r}")
        others = {one: arguments[one] for one in arguments if one not in SETTINGS}
        return {**others, "engine": engine}

    def add(self, step: Step) -> StepHandle:
        if step.name in self.steps:
            raise FlowError(self.name, f"two steps have the name {step.name!r}")
        self.steps[step.name] = step
        self._open[-1].append(step.name)
        handle = self.step_handle
        if isinstance(step, ConditionStep):
            handle = self.condition_handle
        elif isinstance(step, ForEachStep):
            handle = self.for_each_handle
        return handle(step.name, self)

    @contextmanager
    def branch(self, condition: str, *, met: bool) -> Iterator[None]:
        with self.block(condition, "if_steps" if met else "else_steps"):
            yield

    @contextmanager
    def block(self, step: str, field: str) -> Iterator[None]:
        """Add steps to a field of ``step`` that contains steps, such as ``if_steps``."""
        self._open.append(self.inner.setdefault((step, field), []))
        try:
            yield
        finally:
            self._open.pop()

    def decide(self, condition: str) -> bool:
        """The outcome of a condition, for a plain ``if``."""
        raise FlowError(
            self.name,
            f"the outcome of condition {condition!r} is only known at run time; "
            "use its met() and unmet() blocks",
        )

    def properties(self, step: str) -> Properties:
        """References to the outputs of a step; a flow run has their values later."""
        return properties_of(step)

    def finish(self) -> Any:
        """End the flow; in a flow run, run its steps."""
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The declared parameters, by the name of the flow's argument."""
        return parameters_of(self.arguments, self.definition.get("Parameters") or EMPTY)

    def pipeline(self) -> Pipeline:
        """The pipeline as built so far."""
        pipeline = assemble(
            in_definition_order(self._built(self._top), step_order(self.definition)),
            tuple(self.parameters.values()),
            self.definition,
            {"PipelineName": self.name, **self.envelope},
            description=self.description,
            role_arn=self.settings.get(None, {}).get("role_arn"),
        )
        return replace(
            pipeline,
            connections=freeze(dict(self._connections())),
            schedules=tuple(self.schedules),
            event_triggers=tuple(self.event_triggers),
            engine=self.engine,
        )

    def _connections(self) -> Iterator[tuple[str, dict[str, str]]]:
        """How each step connects to AWS, if its arguments or those of ``begin`` are names."""
        for name, step in self.steps.items():
            settings = {**self.settings.get(None, {}), **self.settings.get(name, {})}
            found = {one: settings[one] for one in PREFECT_ARGUMENTS if one in settings}
            if connects(step) and (own := {k: v for k, v in found.items() if type(v) is str}):
                yield name, own

    def _built(self, names: Sequence[str]) -> tuple[Step, ...]:
        return tuple(self._complete(self.steps[name]) for name in names)

    def _complete(self, step: Step) -> Step:
        found = {name: self.inner.get((step.name, name)) for name in step.inner_fields}
        inner: Any = {name: self._built(names) for name, names in found.items() if names}
        return replace(step, **inner) if inner else step


def _settings(function: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = ("definition", "pipeline", "schedules", "event_triggers", *SETTINGS)
    if problem := unknown_arguments(f"{function}()", given, known):
        raise TypeError(problem)
    return dict(given)


def legal_name(name: str) -> str:
    """A pipeline's name as a flow name, without the characters that Prefect rejects."""
    # The list is BANNED_CHARACTERS in prefect/types/names.py.
    return re.sub(r"[/%&<>]", "_", name) or "_"
