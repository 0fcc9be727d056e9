"""What Prefect knows about a run, for the code of its steps; the settings of a step as options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prefect.settings import PREFECT_UI_URL

from sagebridge.authoring.flow_settings import retry_delays
from sagebridge.model.engine_settings import NO_SETTINGS, EngineSettings
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.step_states import Attempts, startable
from sagebridge_operators.lifecycle.step_task import EngineRun
from sagebridge_operators.lifecycle.user_code.run_context import RunContext
from sagebridge_operators.prefect.pipeline_runs import FlowRuns
from sagebridge_operators.prefect.step_keys import StepKey, Upstream

Ready = tuple[StepKey, str, Upstream]
"""A step that can be submitted, its state, and the steps before it."""

_MOST_DELAYS = 50
"""The most delays that Prefect's Task accepts (prefect/tasks.py); the last one repeats."""


def engine_run(info: Any) -> EngineRun:
    """The run of a step's code; ``info`` is Prefect's flow run."""
    page = PREFECT_UI_URL.value()
    return EngineRun(
        run_id=str(info.id),
        scheduled=info.expected_start_time,
        context=_airflow_context,
        runs=FlowRuns(),
        secret=_secret,
        facts={
            "conf": dict(info.parameters or {}),
            "scheduled_by_deployment": info.auto_scheduled,
            "url": f"{page}/runs/flow-run/{info.id}" if page else "",
        },
    )


def _airflow_context(run: RunContext) -> Mapping[str, Any]:
    # Imported here: only code that was written for Airflow needs it.
    from sagebridge_operators.prefect.airflow_names.context import airflow_context

    return airflow_context(run)


def _secret(reference: Sequence[str]) -> Any:
    from sagebridge_operators.prefect.airflow_names.stores import secret

    return secret(reference)


def retry_delay(settings: EngineSettings, given: Any) -> Any:
    """``retry_delay_seconds`` of a Task: as given, or a list if the delay grows by a factor."""
    if settings.backoff is ABSENT and settings.max_retry_delay is ABSENT:
        return given
    return retry_delays(settings)[:_MOST_DELAYS] or None


def tags_of(settings: EngineSettings) -> Iterator[str]:
    """The tags of a task run. A pool is a tag, whose concurrency limit is set in Prefect."""
    yield from settings.tags
    if settings.pool:
        yield settings.pool


def by_priority(ready: Iterable[Ready], pipeline: Pipeline) -> list[Ready]:
    """Steps that can be submitted; those with a larger priority come first."""

    def rank(one: Ready) -> int:
        priority = _settings(pipeline, one[0]).priority
        return 0 if priority is ABSENT else -priority

    return sorted(ready, key=rank)


def has_slot(key: StepKey, pipeline: Pipeline, active: Iterable[StepKey]) -> bool:
    """Whether fewer task runs of a step are running than it allows."""
    most = _settings(pipeline, key).concurrency
    return most is ABSENT or sum(one.step == key.step for one in active) < most


def startable_early(pipeline: Pipeline, attempts: Attempts) -> Collection[str]:
    """Steps whose trigger rule may let them start before all steps before them have ended."""
    if any(step.engine.trigger_rule for step in walk(pipeline)):
        return startable(pipeline, attempts)
    return ()


def _settings(pipeline: Pipeline, key: StepKey) -> EngineSettings:
    step = pipeline.step(key.step)
    return NO_SETTINGS if step is None else step.engine
