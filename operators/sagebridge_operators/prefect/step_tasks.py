"""The Prefect task of a step: runs it, or only reports the state of a step that does not run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State
from prefect.tasks import Task

from sagebridge.errors import SagebridgeError
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.prefect.code_logs import show_messages
from sagebridge_operators.prefect.for_each_run import ForEachRun
from sagebridge_operators.prefect.step_hooks import SKIPPED, StepHooks, error_of
from sagebridge_operators.prefect.step_keys import StepKey
from sagebridge_operators.run_errors import (
    RecordsUnreachable,
    StepFailed,
    StepSkipped,
    StepStopped,
)

_TRIES = 3
_SECONDS_BETWEEN = 10.0


def step_task(
    key: StepKey, driver: StepDriver | ForEachRun, retry_delay: Any, hooks: StepHooks
) -> Any:
    """A task that runs a step, up to three times if the step ends without a result.

    Prefect's own retries are those of the user: they also retry a Failed state that a task returns
    (handle_success in prefect/task_engine.py).

    Args:
        key: the step, from which the task run has its name.
        driver: runs the step; it is called again for each retry.
        retry_delay: ``retry_delay_seconds`` of a Task.
        hooks: what is called after events of the step.
    """

    def run_step() -> Any:
        driver.log = log = get_run_logger()
        hooks.call("execute")
        left = _TRIES
        while True:
            left -= 1
            try:
                with show_messages(log):
                    return _succeeded(driver.run())
            except StepSkipped as skipped:
                log.info("skipped: %s", skipped)
                return Completed(name=SKIPPED, message=str(skipped))
            except Exception as error:
                verdict = not isinstance(error, RecordsUnreachable)
                if isinstance(error, SagebridgeError) and verdict:
                    retry = getattr(error, "retry", None)
                    tried = "try {} of {} failed: ".format(*retry) if retry else ""
                    log.error("%s%s", tried, error)  # noqa: TRY400 - needs no traceback
                    if retry:
                        hooks.call("retry", str(error), error.__cause__)
                    name = "Stopped" if isinstance(error, StepStopped) else "Failed"
                    return Failed(name=name, message=str(error), data=error)
                if not left:
                    raise
                log.warning(
                    "the step ended without a result; trying again in %s s", _SECONDS_BETWEEN
                )
                time.sleep(_SECONDS_BETWEEN)

    return _task(
        key.name,
        run_step,
        retries=driver.task.user_retries,
        retry_delay_seconds=retry_delay,
        retry_condition_fn=_is_retried,
        **hooks.options(),
    )


# A function, since Prefect 3.7 ignores other callables (inspect.isfunction in prefect/tasks.py).
def _is_retried(task: Any, task_run: Any, state: State) -> bool:
    return getattr(error_of(state), "retry", None) is not None


def _succeeded(outputs: dict[str, Any]) -> Any:
    """The outputs of a step, in a state with Prefect's name for a cached result if it is one."""
    if source := outputs.get("cached_from"):
        return Completed(name="Cached", message=f"the job of {source} is reused", data=outputs)
    return outputs


def delay_problem(delay: Any) -> str:
    """Why Prefect rejects a ``retry_delay_seconds``; empty if it does not."""
    try:
        _task("", lambda: None, retries=1, retry_delay_seconds=delay)
    except (TypeError, ValueError) as problem:
        return str(problem)
    return ""


def ended_task(key: StepKey, ended: Callable[[], State]) -> Any:
    """A task for a step that does not run. It ends immediately in the state from ``ended``."""

    def end_step() -> State:
        return ended()

    return _task(key.name, end_step)


def state_of(attempt: Attempt) -> State:
    """The Prefect state of a step that ended in an earlier process of the flow run."""
    if attempt.state == "Succeeded":
        return Completed(message="succeeded in an earlier process of this flow run")
    if attempt.state == SKIPPED:
        return Completed(name=SKIPPED, message=attempt.reason)
    return Failed(name=attempt.state, message=attempt.reason, data=StepFailed(attempt.reason))


def _task(name: str, function: Callable[[], Any], **options: Any) -> Any:
    return Task(
        function,
        name=name,
        # A function, since Prefect formats a string: names may contain braces
        # (resolve_custom_task_run_name in prefect/_internal/engine.py).
        task_run_name=lambda: name,
        cache_policy=NO_CACHE,
        persist_result=False,
        **{"retries": 0, **options},
    )
