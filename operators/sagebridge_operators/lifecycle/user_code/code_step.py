"""The code of a carried step: what it is given, how it is run, what it hands on."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.code_steps import PYTHON, RETURN_VALUE, SHELL, CarriedStep, PythonStep
from sagebridge.model.display import shown
from sagebridge.model.expressions import Join
from sagebridge.model.values import Value
from sagebridge_operators.lifecycle.masking import MASK
from sagebridge_operators.lifecycle.user_code.function_call import call
from sagebridge_operators.lifecycle.user_code.shell_command import run_command
from sagebridge_operators.run_errors import NotRunnable, StepFailed

CODE_TYPES = frozenset((PYTHON, SHELL))
"""What the record of a step says that runs in its worker, without a job."""


@dataclass(slots=True)
class StopAsked:
    """Whether a stop was asked for; ``requested`` is called every ``seconds`` only."""

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
        except Exception:  # noqa: BLE001 - records that do not answer ask for nothing
            return False


def run(
    step: CarriedStep,
    function: Callable[..., Any] | None,
    resolve: Callable[[Value], Any],
    stop_asked: Callable[[], bool],
    line: Callable[[str], Any],
    show: Callable[[Mapping[str, Any]], Any],
    held: int | None = None,
) -> Any:
    """What the code of a step returns, as JSON. Raises StepFailed.

    ``function`` is what a Python step calls: it is the engine's file's, never a definition's.
    ``line`` is told what a command prints and what a function raises; ``show`` is shown what is
    run, without values of the environment. ``held`` stays open as long as a command runs.
    """
    given = step.arguments
    if isinstance(step, PythonStep):
        if function is None:
            raise NotRunnable(f"a function without the file that has it (step {step.name!r})")
        arguments = resolve(given)
        show({"function": step.function.name, **arguments})
        return json_value(step.name, call(function, arguments, stop_asked, line))

    def text(value: Value) -> str:
        return str(resolve(Join((value,), "")))

    command = text(given["command"])
    env = {name: text(value) for name, value in given.get("env", {}).items()}
    show({"command": command, "env": dict.fromkeys(env, MASK)})
    if "env" not in given or given.get("append_env"):
        env = {**os.environ, **env}
    return run_command(command, env, stop_asked, line, held)


def json_value(step: str, value: Any) -> Any:
    """What a step's code returned, as JSON. Raises StepFailed that names the step and the place."""
    try:
        problem = next(_problems(value, RETURN_VALUE), "")
    except RecursionError:
        problem = f"{RETURN_VALUE} holds itself, or is too deep"
    if problem:
        raise StepFailed(
            f"step {step!r} returned what is no JSON value: {problem}; "
            "return texts, numbers, booleans, lists or dicts of them, or where the rest is kept",
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
                    yield f"{place} has the key {shown(name)}, which is no text"
                yield from _problems(item, f"{place}[{name!r}]")
        case _:
            yield f"{place} is a {type(value).__name__}"
