"""Runs a Python or shell step: resolves its arguments, runs its code, checks its result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sagebridge.model.code_steps import (
    PYTHON,
    RETURN_VALUE,
    SENSOR,
    SHELL,
    STUB,
    CarriedStep,
    PythonStep,
    StubStep,
)
from sagebridge.model.expressions import Join
from sagebridge.model.values import Value
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.for_each_items import short
from sagebridge_operators.lifecycle.job_request import resolver
from sagebridge_operators.lifecycle.masking import MASK, mask
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.user_code.function_call import call, globals_of, with_context
from sagebridge_operators.lifecycle.user_code.kept_secrets import (
    masked,
    masked_text,
    with_secrets,
    without_secrets,
)
from sagebridge_operators.lifecycle.user_code.operator_call import call_of, is_operator
from sagebridge_operators.lifecycle.user_code.roles import Polling, poll, skipped_by
from sagebridge_operators.lifecycle.user_code.run_context import in_run
from sagebridge_operators.lifecycle.user_code.shell_command import run_command
from sagebridge_operators.lifecycle.user_code.step_context import (
    PUSHED,
    context_of,
    engine_context,
    stored,
)
from sagebridge_operators.lifecycle.user_code.values import decode, encode, untagged
from sagebridge_operators.run_errors import NotRunnable, StepFailed, StepSkipped, StepStopped

CODE_TYPES = frozenset((PYTHON, SHELL, STUB))
"""The types of steps that run in their worker, without a job."""
_LONGEST_STRING, _MOST_ITEMS = 1000, 50


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


@dataclass(slots=True)
class TimeLimit:
    """A stop check that also stops code that runs for longer than ``seconds``."""

    seconds: float
    requested: Callable[[], bool]
    exceeded: bool = field(default=False, init=False)
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def __call__(self) -> bool:
        if self.requested():
            return True
        self.exceeded = self.exceeded or time.monotonic() > self._end
        return self.exceeded

    def failure(self, step: CarriedStep) -> StepFailed:
        """What the step ends with; Airflow skips a sensor with ``soft_fail``."""
        text = f"the step exceeded its time limit of {self.seconds:g} s"
        if isinstance(step, PythonStep) and step.role == SENSOR and step.engine.soft_fail:
            return StepSkipped(f"{text} (soft_fail)")
        return StepFailed(text, kind="time-limit")


def run(
    step: CarriedStep,
    task: StepTask,
    attempt: Attempt,
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    lock: int | None = None,
) -> dict[str, Any]:
    """Runs the code of a step and returns its outputs as JSON.

    These are ``return_value``; ``skips`` of a branch or gate: the names of the steps that it skips;
    and ``pushed``: the values that the code pushed.

    Args:
        step: the Python or shell step, or a stub, which fails.
        task: the step with its context. Its function comes from the DAG or flow file, never from a
            definition.
        attempt: the attempt in which the code runs.
        stop_requested: whether a stop was requested.
        line: called with each line of output and with the traceback of an error.
        lock: a descriptor that stays open until a command has ended.

    Raises StepFailed, StepSkipped or StepStopped.
    """
    if isinstance(step, StubStep):
        raise StepFailed(step.message, kind="not-runnable")
    if task.time_limit is not None:
        stop_requested = TimeLimit(task.time_limit, stop_requested)
    try:
        return _run_code(step, task, attempt, stop_requested, line, lock)
    except StepStopped:
        if isinstance(stop_requested, TimeLimit) and stop_requested.exceeded:
            raise stop_requested.failure(step) from None
        raise


def _run_code(
    step: CarriedStep,
    task: StepTask,
    attempt: Attempt,
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    lock: int | None,
) -> dict[str, Any]:
    if isinstance(step, PythonStep):
        return _run_function(step, task, attempt, stop_requested, line)
    value = _run_command(step, task, attempt, stop_requested, line, lock)
    return {RETURN_VALUE: stored(task.records, attempt, RETURN_VALUE, value)}


def _run_function(
    step: PythonStep,
    task: StepTask,
    attempt: Attempt,
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
) -> dict[str, Any]:
    function = task.function
    if function is None:
        raise NotRunnable(f"a Python step without the file of its function (step {step.name!r})")
    names = globals_of(function)
    arguments = resolver(task, tagged=True, tries=attempt.tries)(step.arguments)
    brief = _brief(untagged(masked(arguments)))
    task.on_request({"function": step.function.name, **mask(brief)})
    pushed: dict[str, Any] = {}
    began = datetime.fromisoformat(attempt.started)
    context = context_of(task, tries=attempt.tries, began=began, pushed=pushed, names=names)
    secrets = context.secrets
    given = decode(with_secrets(arguments, task.engine_run.secret, secrets), names)
    args, kwargs = given["args"], {**given["kwargs"], **_unpacked(step, given)}
    if is_operator(function):
        function = call_of(function, step.name, step.role, engine_context(task, context))
    elif step.context:
        kwargs = with_context(function, args, kwargs, engine_context(task, context))

    def called() -> Any:
        with in_run(context):
            return call(function, {"args": args, "kwargs": kwargs}, stop_requested, masked_line)

    def masked_line(text: str) -> None:
        line(masked_text(text, secrets))

    def pushes() -> dict[str, Any]:
        kept = {key: stored(task.records, attempt, key, one) for key, one in pushed.items()}
        return {PUSHED: kept} if kept else {}

    try:
        if step.role == SENSOR:
            waited = (datetime.now(UTC) - began).total_seconds()
            result = poll(called, Polling.of(step.engine), stop_requested, line, waited=waited)
        else:
            result = called()
        skips = skipped_by(step, result, context.pipeline)
        value = without_secrets(step.name, encode(step.name, result), secrets)
    except StepFailed as failed:
        failed.args = tuple(masked_text(str(one), secrets) for one in failed.args)
        failed.outputs = pushes() or None
        raise
    found: dict[str, Any] = {RETURN_VALUE: stored(task.records, attempt, RETURN_VALUE, value)}
    if skips is not None:
        line(f"skips {', '.join(skips) or 'no step'}")
        found["skips"] = skips
    return found | pushes()


def _brief(value: Any) -> Any:
    """The arguments of a call as users see them: long strings and lists are cut."""
    match value:
        case str() if len(value) > _LONGEST_STRING:
            return f"{value[:_LONGEST_STRING]}..."
        case list():
            more = len(value) - _MOST_ITEMS
            shown = [_brief(one) for one in value[:_MOST_ITEMS]]
            return [*shown, f"... {more} more"] if more > 0 else shown
        case dict():
            return {name: _brief(one) for name, one in islice(value.items(), _MOST_ITEMS)}
    return value


def _unpacked(step: PythonStep, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keyword arguments in the dict at ``unpacked``."""
    found = given.get("unpacked", {})
    if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found):
        text = f"step {step.name!r}: expected a dict of keyword arguments, got {short(found)}"
        raise StepFailed(text, kind="unresolvable")
    return found


def _run_command(
    step: CarriedStep,
    task: StepTask,
    attempt: Attempt,
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    lock: int | None,
) -> str:
    resolve, given = resolver(task, tries=attempt.tries), step.arguments

    def text(value: Value) -> str:
        return str(resolve(Join((value,), "")))

    command = text(given["command"])
    env = {name: text(value) for name, value in given.get("env", {}).items()}
    task.on_request({"command": mask([command])[0], "env": dict.fromkeys(env, MASK)})
    if "env" not in given or given.get("append_env"):
        env = {**os.environ, **env}
    return run_command(command, env, stop_requested, line, lock)
