"""Holds the limit of a ForEach over its iterations, also while their tasks are deferred.

Airflow's own limit, ``max_active_tis_per_dagrun``, counts each task of the body separately and does
not count deferred tasks (EXECUTION_STATES in airflow/ti_deps/dependencies_states.py). A task of an
iteration that has no slot is therefore rescheduled, and holds no worker until then.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebridge_operators.airflow._compat import AirflowRescheduleException, conf
from sagebridge_operators.airflow.dag_runs import run_states
from sagebridge_operators.airflow.dag_test import is_dag_test, repeat_try
from sagebridge_operators.airflow.for_each_operator import LABEL, ForEachOperator
from sagebridge_operators.airflow.step_operators import StepOperator
from sagebridge_operators.lifecycle.for_each_items import PATIENCE, item_of, limit_of, shown_item
from sagebridge_operators.lifecycle.for_each_slots import claim
from sagebridge_operators.lifecycle.job_request import resolver
from sagebridge_operators.lifecycle.outages import patiently
from sagebridge_operators.lifecycle.step_task import StepTask

_ENDED = frozenset(("success", "failed", "skipped", "upstream_failed", "removed"))
_LABEL_LENGTH = 250  # rendered_map_index in airflow/models/taskinstance.py
_IN_WORKER, _LOOK = 15.0, 1.0
"""Seconds for which a worker waits for a slot, and between two looks; not for deferrable tasks."""
# If a rescheduled task starts again before the scheduler has processed the end of its last start,
# the scheduler fails it (process_executor_events in airflow/jobs/scheduler_job_runner.py).
_SHORTEST, _LONGEST = 30.0, 600.0
"""Seconds after which an iteration without a slot asks again."""


def take_slot(operator: StepOperator, loop: ForEachOperator, task: StepTask, ti: Any) -> None:
    """Returns if the iteration of a task may run. Otherwise raises AirflowRescheduleException."""
    index, step = task.index[-1], loop.step
    limit = limit_of(step, resolver(task))
    ids = [one.task_id for one in loop.body]
    waiting = 0

    def has_ended(running: list[int]) -> set[int]:
        nonlocal waiting
        states = states_of(ti, ids)
        ended = {
            one
            for one in range(max(*running, index) + 1)
            if all(states.get(f"{name}_{one}") in _ENDED for name in ids)
        }
        waiting = len(set(range(index)) - ended - set(running))
        return ended

    def claimed() -> bool:
        return claim(task.records, task.execution.id, step.name, index, limit, has_ended)

    until = time.monotonic() + (0 if is_dag_test(ti) or _may_defer(operator) else _IN_WORKER)
    while not patiently(claimed, PATIENCE):
        if time.monotonic() >= until or operator.killed:
            # Each one that waits before it gets a slot first, so it asks less often.
            pause = 0 if is_dag_test(ti) else min(_LONGEST, _SHORTEST * (1 + waiting))
            text = "%s iterations run, the most at a time; asking again in %g s"
            operator.log.info(text, limit, pause)
            repeat_try(ti)
            moment = datetime.now(UTC) + timedelta(seconds=pause)
            raise AirflowRescheduleException(moment)  # type: ignore[no-untyped-call]
        time.sleep(_LOOK)


def _may_defer(operator: StepOperator) -> bool:
    if operator.deferrable is not None:
        return operator.deferrable
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def show_item(loop: ForEachOperator, task: StepTask, context: Any) -> None:
    """Shows the item as the label of the iteration in Airflow's UI."""
    item = item_of(task.records, task.execution.id, loop.step.name, task.index[-1])
    context[LABEL] = shown_item(item)[:_LABEL_LENGTH]


def states_of(ti: Any, task_ids: list[str]) -> dict[str, str | None]:
    """The states of tasks in the run of a task, by task id, with ``_<index>`` if mapped."""
    found = run_states(ti).get_task_states(dag_id=ti.dag_id, task_ids=task_ids, run_ids=[ti.run_id])
    return {
        name: None if state is None else str(state)
        for name, state in found.get(ti.run_id, {}).items()
    }
