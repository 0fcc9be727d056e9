"""Runs of other pipelines: a step that starts one, a sensor that waits for one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebridge.errors import UsageError
from sagebridge_operators.lifecycle.user_code.run_context import (
    PipelineRuns,
    RunContext,
    current_run,
)
from sagebridge_operators.run_errors import StepFailed, StepSkipped

_SLICE = 0.2
_AIRFLOW_STATES: Mapping[str, str] = {
    "Pending": "queued",
    "Executing": "running",
    "Stopping": "running",
    "Succeeded": "success",
    "Failed": "failed",
    "Stopped": "failed",
    "Skipped": "skipped",
    "NotRun": "upstream_failed",
}


def run_pipeline(
    pipeline: str,
    parameters: Mapping[str, Any] | str | None = None,
    run_id: str = "",
    wait: bool = False,
    skip_existing: bool = False,
    interval: float = 60,
    success: Sequence[str] = ("success",),
    failure: Sequence[str] = ("failed",),
    logical_date: str | datetime | None = None,
) -> str:
    """Starts a run of another DAG, or of a Prefect deployment; returns its id.

    The id is also pushed as ``trigger_run_id``. A worker that replaces a lost one finds the run.

    Args:
        pipeline: the DAG id, or the name of a deployment.
        parameters: the parameters of the run; may be JSON.
        run_id: the id of the run; by default it follows from this step and try.
        wait: wait for the end of the run.
        skip_existing: skip the step if there is a run with this id.
        interval: the seconds between two looks at the run.
        success: the states of the run, by Airflow's names, after which the step succeeds.
        failure: those after which it fails.
        logical_date: the date of the run.
    """
    context, runs = current_run(), _runs()
    given = json.loads(parameters) if isinstance(parameters, str) else dict(parameters or {})
    if run_id and skip_existing and runs.state(pipeline, run_id):
        raise StepSkipped(f"{pipeline} has a run {run_id!r} already")
    moment = _moment(logical_date) if isinstance(logical_date, str) else logical_date
    started = runs.start(pipeline, given, run_id=run_id or _own_id(context), logical_date=moment)
    context.push("trigger_run_id", started)
    while wait:
        state = _AIRFLOW_STATES.get(runs.state(pipeline, started), "")
        if state in failure:
            raise StepFailed(f"the run {started!r} of {pipeline} has {state}", kind="code")
        if state in success:
            break
        _sleep(interval)
    return started


def pipeline_ended(
    pipeline: str,
    steps: Sequence[str] = (),
    seconds_before: float = 0,
    success: Sequence[str] = ("success",),
    failure: Sequence[str] = (),
    skipped: Sequence[str] = (),
    check_existence: bool = False,
) -> bool:
    """Whether the run of another pipeline for the same date has ended, as ExternalTaskSensor.

    Args:
        pipeline: the DAG id, or the name of a flow.
        steps: look at these steps instead of the whole run.
        seconds_before: how much earlier the date of that run is.
        success: the states, by Airflow's names, that count as ended.
        failure: the states that fail this step, or skip it if it has ``soft_fail``.
        skipped: the states that skip this step.
        check_existence: no effect: a pipeline that does not exist is waited for.
    """
    context, runs = current_run(), _runs()
    date = context.scheduled - timedelta(seconds=seconds_before)
    if steps:
        found = [*runs.step_states(pipeline, [date], list(steps)).get(date, {}).values()]
    else:
        found = [*runs.at(pipeline, [date]).values()]
    states = [_AIRFLOW_STATES.get(one, "") for one in found]
    what = f"{', '.join(steps)} of {pipeline}" if steps else pipeline
    if bad := [one for one in states if one in failure]:
        text = f"{what} of {date:%Y-%m-%d %H:%M:%S} has {bad[0]}"
        step = context.pipeline.step(context.step)
        soft = step is not None and step.engine.soft_fail
        raise StepSkipped(text) if soft else StepFailed(text, kind="code")
    if passed := [one for one in states if one in skipped]:
        raise StepSkipped(f"{what} of {date:%Y-%m-%d %H:%M:%S} has {passed[0]}")
    return sum(one in success for one in states) == (len(steps) or 1)


def _runs() -> PipelineRuns:
    runs = current_run().runs
    if runs is None:
        raise UsageError("this engine offers no runs of other pipelines")
    return runs


def _own_id(context: RunContext) -> str:
    """An id that a worker which replaces a lost one finds again."""
    index = "" if context.index is None else f"-{context.index}"
    return f"{context.name}-{context.execution}-{context.step}{index}-{context.try_number}"


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:  # a stop interrupts the loop, but not a sleep
        time.sleep(min(left, _SLICE))
