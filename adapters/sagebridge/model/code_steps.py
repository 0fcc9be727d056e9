"""Python functions and shell commands, carried between Airflow and Prefect as steps, and stubs.

A stub stands for a task that is dropped: it fails when it runs. SageMaker has no such step types:
a Fail step takes the place of each. Only the readers of Python files create these classes: a
definition is data, so no ``Type`` in a definition can turn it into code. The result of a code step
is ``Steps.NAME.return_value``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sagebridge.errors import ModelTypeError
from sagebridge.model.display import shown
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Step
from sagebridge.model.values import Value

PYTHON, SHELL, STUB = "sagebridge.PythonCallable", "sagebridge.ShellCommand", "sagebridge.Stub"
AWS_CALL = "sagebridge.AwsCall"
CODE_TYPES = frozenset((PYTHON, SHELL, STUB, AWS_CALL))
"""The displayed types of these steps. A step of that type in a definition is not one of them."""
RETURN_VALUE = "return_value"
BRANCH, GATE, DIRECT_GATE, SENSOR = "branch", "gate", "direct_gate", "sensor"
ROLES = ("", BRANCH, GATE, DIRECT_GATE, SENSOR)
"""What the result of a function decides.

The result of a branch has the names of the direct dependants that run; the others are skipped. A
false result of a gate skips everything that depends on it, directly or not; of a direct gate only
the direct dependants. A sensor is called until its result is true.
"""
_SOURCE_LINES, _SOURCE_COLUMNS = 12, 160
"""The most of a dropped task's source that its stub quotes."""


@dataclass(frozen=True, slots=True, eq=False)
class CarriedStep(Step):
    """A step of user code; ``origin`` is the location it was read from."""

    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class PythonStep(CarriedStep):
    """A call of a Python function; its arguments are ``{"args": […], "kwargs": {…}}``.

    The value at ``unpacked`` in its arguments is a dict, which is merged into ``kwargs``.

    Attributes:
        function: what is called.
        role: what its result decides: one of ``ROLES``.
        context: whether Airflow's context fills its parameters of the same names that the call does
            not set; ``**kwargs`` gets the whole context.
    """

    function: Function = field(kw_only=True)
    role: str = ""
    context: bool = False

    @classmethod
    def of(
        cls,
        step: Step,
        function: Function,
        origin: str = "",
        *,
        role: str = "",
        context: bool = False,
    ) -> PythonStep:
        """A step with the arguments of a call, turned into a call of ``function``."""
        own: dict[str, Any] = {"function": function, "role": role, "context": context}
        return cls(**_common(step), origin=origin, **own)

    def __post_init__(self) -> None:
        CarriedStep.__post_init__(self)
        if self.role not in ROLES:
            known = ", ".join(filter(None, ROLES))
            raise ModelTypeError([f"step {shown(self.name)}: role: expected one of {known}"])


@dataclass(frozen=True, slots=True, eq=False)
class ShellStep(CarriedStep):
    """A bash command; its arguments are ``command``, ``env`` and ``append_env``."""

    @classmethod
    def of(cls, step: Step, origin: str = "") -> ShellStep:
        """A step with the arguments of a command, turned into a shell step."""
        return cls(**_common(step), origin=origin)


@dataclass(frozen=True, slots=True, eq=False)
class AwsCallStep(CarriedStep):
    """A call of an AWS API, and a wait for what it starts if its arguments have one."""

    @classmethod
    def of(cls, step: Step, origin: str = "") -> AwsCallStep:
        """A step with the arguments of an AWS call, turned into one."""
        return cls(**_common(step), origin=origin)


@dataclass(frozen=True, slots=True, eq=False)
class StubStep(CarriedStep):
    """A dropped task; its arguments are ``reason``, ``dropped_from`` and ``source``.

    ``returns`` is the parameter type of the task's result; empty if unknown.
    """

    returns: str = field(default="", compare=False)

    @classmethod
    def of(cls, step: Step, origin: str = "", returns: str = "") -> StubStep:
        """A step with the arguments of a stub, turned into one."""
        return cls(**_common(step), origin=origin, returns=returns)

    @property
    def message(self) -> str:
        """Why the step fails when it runs."""
        given = self.arguments
        place = f" ({given['dropped_from']})" if given["dropped_from"] else ""
        return (
            f"step {self.name!r} is a stub: {given['reason']}{place}; "
            "replace it, or translate with --no-stubs to leave it out"
        )


def stub_arguments(
    reason: Value, dropped_from: Value = "", source: Sequence[Value] = ()
) -> dict[str, Any]:
    """The arguments of a stub.

    Args:
        reason: why the task is dropped.
        dropped_from: where it was, as ``file:line``.
        source: lines of its source.
    """
    return {"reason": reason, "dropped_from": dropped_from, "source": list(source)}


def quoted_source(text: str) -> list[str]:
    """The first lines of the source of a dropped task, for its stub."""
    lines = [
        line.rstrip()[:_SOURCE_COLUMNS] for line in textwrap.dedent(text).strip("\n").splitlines()
    ]
    return [*lines[:_SOURCE_LINES], *(["..."] if len(lines) > _SOURCE_LINES else [])]


def call_arguments(args: Iterable[Value], kwargs: Mapping[str, Value]) -> dict[str, Any]:
    """The arguments of a Python step."""
    return {"args": list(args), "kwargs": dict(kwargs)}


def shell_arguments(
    command: Value, env: Mapping[str, Value] | None, append_env: bool
) -> dict[str, Any]:
    """The arguments of a shell step.

    Without ``env`` the command has the environment of the worker. ``append_env`` adds ``env`` to
    it; otherwise ``env`` replaces it.
    """
    arguments: dict[str, Any] = {"command": command}
    if env is not None:
        arguments["env"] = dict(env)
        if append_env:
            arguments["append_env"] = True
    return arguments


def _common(step: Step) -> dict[str, Any]:
    return {one.name: getattr(step, one.name) for one in fields(Step)}
