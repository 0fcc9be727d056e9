"""The Prefect task of a step: one run of it, or its end where it does not run."""

from __future__ import annotations

import logging
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
from sagebridge_operators.run_errors import RecordsUnreachable, StepFailed, StepStopped

_TRIES = 3
_SECONDS_BETWEEN = 10.0


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    """Prefect logs a state that a task returned as an exception, which there is none of."""
    if record.exc_info == (None, None, None):
        record.exc_info = None
    return True


logging.getLogger("prefect.task_runs").addFilter(_without_empty_traceback)


def run(driver: StepDriver) -> Any:
    """A task that runs a step. What is no verdict on it, as a lost connection, is tried again.

    Not by Prefect's own retries, which 3.7 also applies to a state that a task returns.
    """

    def run_step() -> Any:
        driver.log = log = get_run_logger()
        left = _TRIES
        while True:
            left -= 1
            try:
                return driver.run()
            except Exception as error:
                verdict = not isinstance(error, RecordsUnreachable)
                if isinstance(error, SagebridgeError) and verdict:
                    log.error(str(error))  # noqa: TRY400 - no fault of the code
                    name = "Stopped" if isinstance(error, StepStopped) else "Failed"
                    return Failed(name=name, message=str(error), data=error)
                if not left:
                    raise
                log.warning("trying again in %s s", _SECONDS_BETWEEN)
                time.sleep(_SECONDS_BETWEEN)

    return _task(driver.task.step.name, run_step)


def end(name: str, ended: Callable[[], State]) -> Any:
    """A task for a step that does not run, which is at once in the state that says so."""

    def end_step() -> State:
        return ended()

    return _task(name, end_step)


def state_of(attempt: Attempt) -> State:
    """The state of a step that had ended before another process went on."""
    if attempt.state == "Succeeded":
        return Completed(message="it had succeeded before")
    return Failed(name=attempt.state, message=attempt.reason, data=StepFailed(attempt.reason))


def _task(name: str, function: Callable[[], Any]) -> Any:
    return Task(
        function,
        name=name,
        task_run_name=lambda: name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )


def error_of(state: State) -> Exception:
    """What ended a task run that reached no verdict."""
    data = getattr(state.data, "result", state.data)
    return data if isinstance(data, Exception) else RuntimeError(state.message or state.name)
