"""A pipeline in the making, a step a call: as a flow runs, or as its source is read or traced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from sagebridge.authoring.definition_members import fields_beside
from sagebridge.authoring.flow_signature import Argument, parameters_of
from sagebridge.authoring.step_arguments import make_step
from sagebridge.errors import FlowError
from sagebridge.formats.sagemaker.reader import read_envelope
from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    Function,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import Properties, plain, properties_of
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import ABSENT, EMPTY, Value, thaw

CURRENT: ContextVar[Draft | None] = ContextVar("sagebridge_draft", default=None)
"""The pipeline that step functions add to while a flow is traced."""

SETTINGS = ("backend", "aws_credentials", "region_name", "role_arn")
"""Arguments of a step function that say where it runs, not what it is."""


@dataclass(frozen=True)
class Handle:
    """A step that a flow has."""

    name: str
    draft: Draft

    @property
    def properties(self) -> Properties:
        """What the step makes known once it has run, as ``properties.A.B["c"]``."""
        return properties_of(self.name)


class Check(Handle):
    """A condition: its branches are the blocks ``with check.met():`` and ``with check.unmet():``.

    A plain ``if check:`` works too; it holds up the flow until the condition is decided.
    """

    @contextmanager
    def met(self) -> Iterator[None]:
        """The steps made inside run where all conditions hold."""
        with self.draft.branch(self.name, met=True):
            yield

    @contextmanager
    def unmet(self) -> Iterator[None]:
        """The steps made inside run where one of the conditions does not hold."""
        with self.draft.branch(self.name, met=False):
            yield

    def __bool__(self) -> bool:
        return self.draft.decide(self.name)


class Draft:
    """What a flow says so far.

    Args:
        name: the flow's name, which is the pipeline's unless ``begin`` says another.
        arguments: the flow's signature.
    """

    def __init__(
        self, name: str, arguments: Sequence[Argument] = (), description: str | None = None
    ) -> None:
        self.name, self.arguments, self.description = name, tuple(arguments), description
        self.definition: dict[str, Value] = {}
        self.around: dict[str, Any] = {}
        self.settings: dict[str | None, dict[str, Any]] = {}
        self.steps: dict[str, Step] = {}
        self.functions: dict[str, Any] = {}
        self.branches: dict[tuple[str, bool], list[str]] = {}
        self._top: list[str] = []
        self._open: list[list[str]] = [self._top]

    def begin(
        self,
        *,
        definition: Mapping[str, Value] = EMPTY,
        pipeline: Mapping[str, Value] = EMPTY,
        **settings: Any,
    ) -> None:
        """What lies beside steps and parameters, by AWS's member names, and where steps run."""
        self.definition = dict(plain(definition))
        self.around = thaw(plain(pipeline))
        self.settings[None] = _settings("begin", settings)

    def step(self, type_: str, name: str, **arguments: Any) -> Handle:
        """Adds a step to the branch that is open. Raises :class:`FlowError`."""
        return self.add(make_step(type_, name, **self._own(name, arguments)))

    def python(
        self,
        name: str,
        function: Any,
        *,
        args: Sequence[Value] = (),
        kwargs: Mapping[str, Value] = EMPTY,
        **more: Any,
    ) -> Handle:
        """Adds a call of a function, as its source or as it lives. Raises :class:`FlowError`."""
        given = call_arguments(args, kwargs)
        step = make_step(PYTHON, name, arguments=given, **self._own(name, more))
        if not isinstance(function, Function):
            if not callable(function):
                raise TypeError(f"python() calls a function, which {function!r} is not")
            self.functions[name] = function
            function = Function(getattr(function, "__name__", ""), "")
        return self.add(PythonStep.of(step, function))

    def shell(
        self,
        name: str,
        command: Value,
        *,
        env: Mapping[str, Value] | None = None,
        append_env: bool = False,
        **more: Any,
    ) -> Handle:
        """Adds a command for bash. Raises :class:`FlowError`."""
        given = shell_arguments(command, env, append_env)
        return self.add(
            ShellStep.of(make_step(SHELL, name, arguments=given, **self._own(name, more)))
        )

    def _own(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments without those that say where the step runs, which are noted."""
        own = {one: arguments.pop(one) for one in SETTINGS if one in arguments}
        self.settings[name] = own
        return arguments

    def add(self, step: Step) -> Handle:
        if step.name in self.steps:
            raise FlowError(self.name, f"two steps are called {step.name!r}")
        self.steps[step.name] = step
        self._open[-1].append(step.name)
        return (Check if isinstance(step, ConditionStep) else Handle)(step.name, self)

    @contextmanager
    def branch(self, condition: str, *, met: bool) -> Iterator[None]:
        self._open.append(self.branches.setdefault((condition, met), []))
        try:
            yield
        finally:
            self._open.pop()

    def decide(self, condition: str) -> bool:
        """What a plain ``if`` on a condition asks for."""
        raise FlowError(self.name, f"whether {condition!r} holds is known only when it runs")

    def finish(self) -> Any:
        """The end of the flow, which is what runs it where it is run."""
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The declared parameters by the names of the flow's arguments."""
        return parameters_of(self.arguments, self.definition.get("Parameters") or EMPTY)

    def pipeline(self) -> Pipeline:
        """The pipeline that the flow says so far."""
        beside = dict(self.definition)
        details = beside.pop("Parameters", EMPTY)
        order = {name: position for position, name in enumerate(beside.pop("Steps", ()))}
        parameters = tuple(self.parameters.values())
        around = {"PipelineName": self.name, **self.around}
        if self.description is not None:
            around["PipelineDescription"] = self.description
        if (role := self.settings.get(None, {}).get("role_arn")) is not None:
            around["RoleArn"] = role
        return Pipeline(
            steps=self._built(self._top, order),
            parameters=ABSENT if details is ABSENT and not parameters else parameters,
            **fields_beside(beside),
            **read_envelope(around),
        )

    def _built(self, names: Sequence[str], order: Mapping[str, int]) -> tuple[Step, ...]:
        ordered = sorted(names, key=lambda name: order.get(name, len(order)))
        return tuple(self._complete(self.steps[name], order) for name in ordered)

    def _complete(self, step: Step, order: Mapping[str, int]) -> Step:
        if not isinstance(step, ConditionStep):
            return step
        if_names = self.branches.get((step.name, True), [])
        else_names = self.branches.get((step.name, False), [])
        return replace(
            step,
            if_steps=self._built(if_names, order) if if_names else step.if_steps,
            else_steps=self._built(else_names, order) if else_names else step.else_steps,
        )


def _settings(function: str, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in SETTINGS:
            raise TypeError(f"{function}() has no argument {name!r}")
    return dict(given)


def legal_name(name: str) -> str:
    """A pipeline's name as a flow's: without the characters that Prefect refuses."""
    return re.sub(r"[/%&<>]", "_", name) or "_"
