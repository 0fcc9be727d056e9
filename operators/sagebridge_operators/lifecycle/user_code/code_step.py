"""Runs a Python or shell step: resolves its arguments, runs its code, checks its result."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.code_steps import (
    PYTHON,
    RETURN_VALUE,
    SHELL,
    STUB,
    CarriedStep,
    PythonStep,
    StubStep,
)
from sagebridge.model.display import shown
from sagebridge.model.expressions import Join
from sagebridge.model.values import Value
from sagebridge_operators.lifecycle.masking import MASK, mask
from sagebridge_operators.lifecycle.user_code.function_call import call
from sagebridge_operators.lifecycle.user_code.shell_command import run_command
from sagebridge_operators.run_errors import NotRunnable, StepFailed

CODE_TYPES = frozenset((PYTHON, SHELL, STUB))
"""The types of steps that run in their worker, without a job."""


@dataclass(slots=True)
class StopCheck:
    """Whether a stop was requested; calls ``requested`` at most once every ``seconds``."""

    killed: Callable[[], bool]
    requested: Callable[[], bool]
    seconds: float
    _next: float = field(default=0.0)

    def __call__(self) -> bool:
        if self.killed():
            return True
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self.seconds
        try:
            return self.requested()
        except Exception:  # noqa: BLE001 - records that do not answer request no stop
            return False


def run(
    step: CarriedStep,
    function: Callable[..., Any] | None,
    resolve: Callable[[Value], Any],
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    show: Callable[[Mapping[str, Any]], Any],
    lock: int | None = None,
) -> Any:
    """Runs the code of a step and returns its result as JSON.

    Args:
        step: the Python or shell step, or a stub, which fails.
        function: the function of a Python step. It comes from the DAG or flow file, never from a
            definition.
        resolve: resolves the expressions in the step's arguments.
        stop_requested: whether a stop was requested.
        line: called with each line of output and with the traceback of an error.
        show: called with the resolved call or command; environment values are masked.
        lock: a descriptor that stays open until a command has ended.

    Raises StepFailed or StepStopped.
    """
    if isinstance(step, StubStep):
        raise StepFailed(step.message, kind="not-runnable")
    given = step.arguments
    if isinstance(step, PythonStep):
        if function is None:
            raise NotRunnable(
                f"a Python step without the file of its function (step {step.name!r})"
            )
        arguments = resolve(given)
        show({"function": step.function.name, **mask(arguments)})
        return json_value(step.name, call(function, arguments, stop_requested, line))

    def text(value: Value) -> str:
        return str(resolve(Join((value,), "")))

    command = text(given["command"])
    env = {name: text(value) for name, value in given.get("env", {}).items()}
    show({"command": mask([command])[0], "env": dict.fromkeys(env, MASK)})
    if "env" not in given or given.get("append_env"):
        env = {**os.environ, **env}
    return run_command(command, env, stop_requested, line, lock)


def json_value(step: str, value: Any) -> Any:
    """The return value of a step's code as JSON. Raises StepFailed if it is not JSON."""
    try:
        problem = next(_problems(value, RETURN_VALUE), "")
    except RecursionError:
        problem = f"{RETURN_VALUE} contains itself or is nested too deeply"
    if problem:
        raise StepFailed(
            f"step {step!r} returned a value that is not JSON: {problem}; return None, strings, "
            "numbers, booleans, or lists or dicts of them, and the S3 URI of anything else",
            kind="code",
        )
    return json.loads(json.dumps(value))


def _problems(value: Any, place: str) -> Iterator[str]:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                yield f"{place} is {value}"
        case list() | tuple():
            for position, item in enumerate(value):
                yield from _problems(item, f"{place}[{position}]")
        case dict():
            for name, item in value.items():
                if not isinstance(name, str):
                    yield f"{place} has the key {shown(name)}, which is not a string"
                yield from _problems(item, f"{place}[{name!r}]")
        case _:
            yield f"{place} is a {type(value).__name__}"
