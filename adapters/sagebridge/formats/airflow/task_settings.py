"""The settings of tasks and DAGs that Airflow and Prefect have: retries, limits, hooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sagebridge.authoring.task_settings import DAG_EVENTS, merged
from sagebridge.formats.airflow.task_facts import is_sagebridge
from sagebridge.formats.airflow.task_tree import trigger_rule
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.function_source import NotSelfContained, of_function
from sagebridge.model.branches import trigger_of
from sagebridge.model.code_steps import CarriedStep, StubStep
from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.engine_settings import EngineSettings, Hook
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import AT_THE_END
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Absent

HOOKS = {
    "on_execute_callback": "execute",
    "on_failure_callback": "failure",
    "on_retry_callback": "retry",
    "on_skipped_callback": "skipped",
    "on_success_callback": "success",
}
"""The event of each callback that is carried."""
_FLOW_EVENTS = {name: event for event, name in DAG_EVENTS.items()}
_POKE_INTERVAL, _SENSOR_TIMEOUT = 60, 7 * 24 * 3600
"""Seconds: Airflow's defaults (``BaseSensorOperator``, ``[sensors] default_timeout``)."""
_MAX_ACTIVE_RUNS = 16
"""Airflow's default (``[core] max_active_runs_per_dag``)."""


def with_settings(steps: Sequence[Step], task: Any, *, inside: bool) -> list[Step]:
    """The steps of a task with its settings.

    ``inside``: the steps are the body of a ForEach, which has what concerns the tasks around it.
    """
    if is_sagebridge(task):
        return [replace(step, engine=_of_sagebridge(task, step.engine)) for step in steps]
    around = EngineSettings(
        trigger_rule=_rule(task, is_code=isinstance(steps[0], CarriedStep)),
        group=tuple(_groups(task)),
    )
    if any(isinstance(step, ForEachStep) for step in steps):
        return [
            replace(step, engine=replace(around, skip_if_empty=step.engine.skip_if_empty))
            for step in steps
        ]
    own = _settings_of(task)
    if not inside:
        own = replace(own, trigger_rule=around.trigger_rule, group=around.group)
    alone = replace(own, hooks=(), poll_interval=ABSENT, poll_timeout=ABSENT, soft_fail=False)

    def settings(step: Step) -> EngineSettings:
        if isinstance(step, StubStep):
            return EngineSettings(trigger_rule=own.trigger_rule, group=own.group)
        return own if step is steps[-1] else alone

    return [replace(step, engine=settings(step)) for step in steps]


def _settings_of(task: Any) -> EngineSettings:
    """The settings of a task that do not concern other tasks."""
    retries = task.retries or 0
    delay, longest = _seconds(task.retry_delay), _seconds(task.max_retry_delay)
    return EngineSettings(
        retries=retries or ABSENT,
        # Always given: every engine has another default.
        retry_delays=(delay,) if retries and delay is not ABSENT else (),
        backoff=_backoff(task.retry_exponential_backoff) if retries else ABSENT,
        max_retry_delay=longest if retries else ABSENT,
        timeout=ABSENT if _is_poked(task) else _seconds(task.execution_timeout),
        pool="" if task.pool in (None, "default_pool") else task.pool,
        concurrency=task.max_active_tis_per_dag or ABSENT,
        priority=task.priority_weight if task.priority_weight != 1 else ABSENT,
        setup=bool(getattr(task, "is_setup", False)),
        hooks=tuple(hooks_of(task)),
        **(_sensor_settings(task) if hasattr(task, "poke_interval") else {}),
    )


def _of_sagebridge(task: Any, own: EngineSettings) -> EngineSettings:
    """The settings of a sagebridge operator; ``own`` are those that BaseOperator does not have."""
    live = [Hook(event, of_function(one), engine) for event, engine, one in task.own_hooks]
    return merged(
        replace(_settings_of(task), hooks=()), replace(own, hooks=(*hooks_of(task), *live))
    )


def dag_settings(dag: Any) -> EngineSettings:
    """The settings of a DAG itself, without their defaults."""
    limit = dag.max_active_runs
    return EngineSettings(
        timeout=_seconds(dag.dagrun_timeout),
        concurrency=ABSENT if limit in (None, _MAX_ACTIVE_RUNS) else limit,
        tags=sorted(set(dag.tags or ()) - {"sagebridge"}),
        hooks=tuple(hooks_of(dag)),
    )


def hooks_of(item: Any) -> Iterator[Hook]:
    """The callbacks of a task or DAG that are carried with their code."""
    for name, event in HOOKS.items():
        for function in _callbacks(item, name):
            hook = getattr(function, "prefect_hook", None)
            try:
                if hook is None:
                    yield Hook(event, of_function(function))
                else:
                    yield Hook(_FLOW_EVENTS[name], of_function(hook), "prefect")
            except NotSelfContained:
                continue


def _is_poked(task: Any) -> bool:
    """Whether a task ends after each poke (a sensor in reschedule mode), and starts again later."""
    return getattr(task, "mode", "") == "reschedule"


def lost_settings(item: Any) -> Iterator[Unsupported]:
    """The settings of a task or DAG that are lost, such as callbacks that cannot be carried."""
    for name in HOOKS:
        for function in _callbacks(item, name):
            try:
                of_function(getattr(function, "prefect_hook", function))
            except NotSelfContained as why:
                what = f"{name} is not called: it {why}"
                yield Unsupported("callback", "dropped", what, AT_THE_END)
    if getattr(item, "is_teardown", False) and item.on_failure_fail_dagrun:
        what = "its failure does not fail the run (on_failure_fail_dagrun)"
        advice = "use trigger_rule='all_done' instead of a teardown"
        yield Unsupported("trigger-rule", "changed", what, advice)
    if _is_poked(item) and item.execution_timeout is not None:
        # The limit of the step would include the time between two pokes.
        what = "execution_timeout limits a poke in reschedule mode; a poke has no limit here"
        yield Unsupported("timeout", "info", what, "limit the sensor with timeout")


def _callbacks(item: Any, name: str) -> list[Any]:
    given = getattr(item, name, None) or ()
    found = list(given) if isinstance(given, list | tuple) else [given]
    own = {id(one) for _, _, one in getattr(item, "own_hooks", ())}
    # A hook of Prefect is called by a partial with the hook as its argument.
    return [one for one in found if own.isdisjoint(map(id, getattr(one, "args", ())))]


def _seconds(value: Any) -> float | Absent:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, int | float):
        return ABSENT
    return int(value) if value == int(value) else value


def _backoff(value: Any) -> float | Absent:
    """The factor of ``retry_exponential_backoff``; True means 2."""
    return 2 if value is True else _seconds(value) if value else ABSENT


def _rule(task: Any, *, is_code: bool) -> str:
    """The trigger rule, unless the step does not need it: SageMaker's steps have triggers."""
    rule, before = trigger_rule(task), task.upstream_task_ids
    if rule == "all_success" or not before:
        return ""
    is_trigger = trigger_of(rule, is_one=len(before) == 1) not in (None, COMPLETED)
    return rule if is_code or not is_trigger else ""


def _groups(task: Any) -> Iterator[str]:
    """The names of the task groups around a task, outermost first."""
    groups: list[str] = []
    group = task.task_group
    while group is not None and group.group_id is not None:
        groups.append(str(group.label))
        group = group.parent_group
    return reversed(groups)


def _sensor_settings(task: Any) -> dict[str, Any]:
    interval, limit = _seconds(task.poke_interval), _seconds(getattr(task, "timeout", None))
    return {
        "poll_interval": ABSENT if interval == _POKE_INTERVAL else interval,
        "poll_timeout": ABSENT if limit == _SENSOR_TIMEOUT else limit,
        "poll_backoff": 2 if getattr(task, "exponential_backoff", False) else ABSENT,
        "soft_fail": bool(getattr(task, "soft_fail", False)),
    }
