"""Calls the hooks of a step, and of a flow, which users wrote for Prefect or for Airflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.states import State

from sagebridge.authoring.flow_settings import LiveHook
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.step_states import Status
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.user_code.run_context import in_run
from sagebridge_operators.lifecycle.user_code.step_context import context_of
from sagebridge_operators.prefect.for_each_run import ForEachRun
from sagebridge_operators.prefect.step_keys import StepKey

SKIPPED = "Skipped"
"""The name of the Completed state of a skipped step."""


@dataclass(frozen=True, slots=True)
class StepHooks:
    """The hooks of a step.

    Args:
        hooks: the functions.
        driver: runs the step.
        log: the log of the flow run.
    """

    hooks: Sequence[LiveHook]
    driver: StepDriver | ForEachRun
    log: Any

    def options(self) -> dict[str, list[Any]]:
        """The hooks as options of a Prefect task. A retry calls :meth:`call` instead."""
        own = [one for one in self.hooks if one.engine == "prefect"]
        failure = [one.function for one in own if one.event == "failure"]
        ended = [one.function for one in own if one.event in ("completion", "success")]
        called = {one.event for one in self.hooks if one.engine == "airflow"}
        if "failure" in called:
            failure.append(self.failure_callbacks)
        if called & {"success", "skipped"}:
            ended.append(self.completion_callbacks)
        return {"on_failure": failure, "on_completion": ended}

    def failure_callbacks(self, task: Any, task_run: Any, state: State) -> None:
        """A hook of Prefect that calls Airflow's callbacks."""
        self.call("failure", state.message or state.name or "", error_of(state).__cause__)

    def completion_callbacks(self, task: Any, task_run: Any, state: State) -> None:
        """A hook of Prefect that calls Airflow's callbacks."""
        self.call("skipped" if state.name == SKIPPED else "success", state.message or "")

    def call(self, event: str, reason: str = "", error: BaseException | None = None) -> None:
        """Calls Airflow's callbacks of an event. Their errors are logged, as in Airflow."""
        from sagebridge_operators.prefect.airflow_names.context import airflow_context
        from sagebridge_operators.prefect.airflow_names.exceptions import AirflowException

        chosen = [one for one in self.hooks if (one.engine, one.event) == ("airflow", event)]
        if not chosen:
            return
        attempt = self.driver.attempt
        tries = attempt.tries + (event == "execute") if attempt else 0  # of the next attempt
        run = context_of(self.driver.task, tries=tries)
        with in_run(run):
            failed = event in ("failure", "retry")
            # Operators without a function raise AirflowException in Airflow.
            exception = error or (AirflowException(reason) if failed else None)
            context = {**airflow_context(run), "exception": exception, "reason": reason}
            for one in chosen:
                try:
                    one.function(context)
                except Exception:
                    self.log.exception("the callback %s of step %r failed", event, run.step)


def error_of(state: State) -> Exception:
    """The exception that ended a task run without a result for its step."""
    data = state.data
    if isinstance(data, State):  # in Prefect 3.7 (can_retry in prefect/task_engine.py)
        data = data.data
    data = getattr(data, "result", data)  # a ResultRecord, or the exception itself
    return data if isinstance(data, Exception) else RuntimeError(state.message or state.name)


def call_flow_hooks(
    hooks: Mapping[str | None, Sequence[LiveHook]],
    found: Status,
    attempts: Mapping[StepKey, Attempt],
    task_of: Callable[[StepKey], StepTask],
    log: Any,
) -> None:
    """Calls Airflow's callbacks of a flow that has ended, with the context of its last step.

    ``hooks`` are those of each step; those of the flow have the key None.
    """
    if (own := hooks.get(None)) and attempts:
        last = max(attempts, key=lambda key: attempts[key].ended)
        event = "success" if found.status == "Succeeded" else "failure"
        StepHooks(own, StepDriver(task_of(last)), log).call(event, found.reason or event)
