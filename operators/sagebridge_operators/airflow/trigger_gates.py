"""Triggers of dependencies as trigger rules of tasks, and as gate tasks.

If all dependencies of a step have the trigger Any, its task has the rule ``all_done``; if all have
Failed, ``all_failed``. Airflow has no rule for a stopped task, nor one for each upstream task.
Otherwise each dependency with a trigger therefore has a gate: a task that succeeds if the upstream
step ended as the trigger requires, and is skipped if not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sagebridge.model.dependencies import ANY, COMPLETED, FAILED, HELPERS
from sagebridge.model.display import free_name
from sagebridge.model.graph import triggers
from sagebridge.model.pipeline import Step
from sagebridge_operators.airflow._compat import AirflowSkipException, BaseOperator, Context

if TYPE_CHECKING:
    from sagebridge_operators.airflow.step_operators import StepOperator

ALL_SUCCESS, ALL_DONE, ALL_FAILED = "all_success", "all_done", "all_failed"
_RULES = {ANY: ALL_DONE, FAILED: ALL_FAILED}
_STATES = {"success": "Succeeded", "failed": "Failed", "upstream_failed": "NotRun"}
"""The states of steps by the states of their tasks; any other state means Skipped."""
_LONGEST_ID = 240
"""Airflow allows 250 characters; the rest is for a number."""
_PATIENCE = 20.0
"""Seconds for which a task that was marked failed may take to stop its job."""


class GateOperator(BaseOperator):
    """Succeeds if the task ``watched`` ended as ``trigger`` requires, otherwise is skipped.

    It is not a step of the pipeline. Its trigger rule is ``all_done``.
    """

    ui_color = "#f5f5f5"

    def __init__(self, *, watched: StepOperator, trigger: str, **kwargs: Any) -> None:
        super().__init__(trigger_rule=ALL_DONE, retries=2, **kwargs)
        self.watched, self.trigger = watched.task_id, trigger
        self.set_upstream(watched)

    def execute(self, context: Context) -> None:
        """Raises AirflowSkipException."""
        _skip_unless_fired(self.dag.get_task(self.watched), self.trigger, context)


def set_rule(operator: StepOperator) -> None:
    """Sets the trigger rule that follows from the dependencies of a new step."""
    needed = {trigger for one in _needed(operator.step).values() for trigger in one}
    rule = _RULES.get(needed.pop()) if len(needed) == 1 else None
    if rule is not None and operator.entry is operator and rule_of(operator) == ALL_SUCCESS:
        operator.trigger_rule = type(operator.trigger_rule)(rule)
        operator.follows_triggers = True


def link(first: StepOperator, second: Any, step: Step) -> None:
    """Makes the task ``second`` of ``step`` wait for ``first``, directly or behind gates."""
    needed = _needed(step).get(first.step.name, {COMPLETED})
    direct = rule_of(second) != ALL_SUCCESS or COMPLETED in needed
    if direct and first.task_id not in second.upstream_task_ids:
        second.set_upstream(first)
    for trigger in () if direct and COMPLETED not in needed else sorted(needed - {COMPLETED}):
        gate = _gate(first, trigger)
        if gate.task_id not in second.upstream_task_ids:
            second.set_upstream(gate)


def put_into_branch(operator: StepOperator, operators: Mapping[str, StepOperator]) -> None:
    """Gives a step gates, since in a branch it also needs the success of its condition.

    ``operators`` are those of the DAG so far, by the names of their steps.
    """
    if not operator.follows_triggers:
        return
    operator.follows_triggers = False
    operator.trigger_rule = type(operator.trigger_rule)(ALL_SUCCESS)
    for name in _needed(operator.step):
        first = operators.get(name)
        if first is not None and first.task_id in operator.upstream_task_ids:
            operator.upstream_task_ids.remove(first.task_id)
            first.downstream_task_ids.remove(operator.task_id)
            link(first, operator, operator.step)


def check(operator: StepOperator, context: Context) -> None:
    """Skips the task of a step that runs after failures, if an upstream step was stopped.

    For Airflow's rule ``all_failed`` a stopped task is a failed one. Raises AirflowSkipException.
    """
    if not operator.follows_triggers or rule_of(operator) != ALL_FAILED:
        return
    for task in operator.upstream_list:
        if hasattr(task, "step"):
            _skip_unless_fired(task, FAILED, context)


def _needed(step: Step) -> dict[str, set[str]]:
    """The triggers of each upstream step; Any adds nothing to another trigger."""
    found: dict[str, set[str]] = {}
    for source, target, trigger in triggers((step,)):
        if target == step.name != source:
            found.setdefault(source, set()).add(trigger)
    return {name: {ANY} if one == {ANY} else one - {ANY} for name, one in found.items()}


def rule_of(task: Any) -> str:
    """The name of a task's trigger rule."""
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def _gate(first: StepOperator, trigger: str) -> BaseOperator:
    """The gate behind a task, which all steps with this trigger share."""
    group = first.task_group
    name = first.task_id.removeprefix(f"{getattr(group, 'node_id', None)}.")
    for task in first.downstream_list:
        if isinstance(task, GateOperator) and task.trigger == trigger:
            return task
    suffix = f"__{HELPERS[trigger]}"
    name = name[: len(name) - max(0, len(first.task_id) + len(suffix) - _LONGEST_ID)]
    task_id = free_name(f"{name}{suffix}", first.dag.task_ids)
    return GateOperator(
        task_id=task_id, watched=first, trigger=trigger, dag=first.dag, task_group=group
    )


def _skip_unless_fired(task: Any, trigger: str, context: Context) -> None:
    from sagebridge_operators.lifecycle.step_states import blocked

    states = set(_states(task, context))
    if any(blocked(state, trigger) is not None for state in states):
        what = " and ".join(sorted(states))
        raise AirflowSkipException(
            f"step {task.step.name!r} is {what}, and the trigger is {trigger}"
        )


def _states(task: Any, context: Context) -> Iterator[str]:
    """The states of a step, one for each map index of its task."""
    from sagebridge_operators.airflow.dag_runs import run_states

    ti: Any = context["ti"]
    index = getattr(ti, "map_index", None)
    index = -1 if index is None else index
    inside = task.get_closest_mapped_task_group() is not None and index >= 0
    given = {"map_index": index} if inside else {}
    found = run_states(ti).get_task_states(
        dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[task.task_id], **given
    )
    for state in (found.get(ti.run_id) or {}).values():
        reached = _STATES.get(str(state), "Skipped")
        one = (index,) if inside else None
        yield "Stopped" if reached == "Failed" and _was_stopped(task, context, one) else reached


def _was_stopped(task: Any, context: Context, index: tuple[int, ...] | None) -> bool:
    """Whether a failed task was stopped, which Airflow does not distinguish.

    Waits for a worker that is stopping its job, as when a running task was marked failed.
    """
    from sagebridge_operators.airflow import task_runtime

    until = time.monotonic() + _PATIENCE
    while True:
        attempt = task_runtime.recorded(task, context, index)
        if attempt is None or not attempt.running or time.monotonic() > until:
            return attempt is not None and attempt.state in ("Stopping", "Stopped")
        time.sleep(0.5)
