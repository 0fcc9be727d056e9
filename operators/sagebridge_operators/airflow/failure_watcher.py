"""A last task that fails the DAG run if a step failed and Airflow would hide it.

Airflow derives the state of a DAG run from its leaf tasks (update_state in
airflow/models/dagrun.py). If everything downstream of a failed step is skipped, because of a branch
not taken, or runs anyway, because of its trigger rule, the run would be a success.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sagebridge.authoring.dag_pipeline import WATCHER
from sagebridge.model.dependencies import ANY
from sagebridge.model.display import free_name
from sagebridge.model.graph import hidden_nodes
from sagebridge_operators.airflow._compat import BaseOperator, Context
from sagebridge_operators.airflow.task_log import failure
from sagebridge_operators.airflow.trigger_gates import GateOperator

_FAILING_RULES = frozenset(("all_success", "none_failed", "none_failed_min_one_success"))
"""The trigger rules with which a task is upstream_failed if one upstream task has failed."""
_AFTER_FAILURE = frozenset(("all_failed", "one_failed"))
"""The trigger rules with which a task is skipped after success."""
_UNSKIPPED_RULES = frozenset(("all_done", "always"))
"""The trigger rules with which a task runs even if all upstream tasks are skipped."""


class WatchOperator(BaseOperator):
    """Fails if one of the ``watched`` steps failed, otherwise is skipped.

    It is not a step of the pipeline. Its trigger rule is ``one_failed``.
    """

    def __init__(self, *, watched: Sequence[Any], **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "one_failed")
        kwargs.setdefault("retries", 0)
        super().__init__(**kwargs)
        self.watched: tuple[str, ...] = ()
        self.watch(watched)

    def watch(self, tasks: Sequence[Any]) -> None:
        """Adds tasks to the watched ones; each is a sagebridge operator, which may be mapped."""
        names = (task.step.name if hasattr(task, "step") else task.task_id for task in tasks)
        self.watched = (*self.watched, *names)
        self.set_upstream(list(tasks))

    def execute(self, context: Context) -> None:
        """Raises AirflowFailException."""
        names = ", ".join(self.watched)
        raise failure(f"one of the steps {names} failed; see the log of its task for the reason")


def watch_hidden_failures(dag: Any, steps: Sequence[Any]) -> None:
    """Watches those of the tasks ``steps`` whose failure no leaf task of the DAG would show."""
    watchers = [task for task in dag.tasks if isinstance(task, WatchOperator)]
    watched = {one for watcher in watchers for one in watcher.upstream_task_ids}
    hidden = _hidden_tasks([task for task in dag.tasks if task not in watchers])
    missed = [task for task in steps if task.task_id in hidden - watched]
    if missed and watchers:
        watchers[0].watch(missed)
    elif missed:
        WatchOperator(task_id=free_name(WATCHER, dag.task_ids), watched=missed, dag=dag)


def _hidden_tasks(tasks: Sequence[Any]) -> set[str]:
    """The ids of tasks whose failure no leaf task shows.

    A teardown task does not count as a leaf (get_leaves in airflow/models/dagrun.py).
    """
    counted = {
        task.task_id: task for task in tasks if not task.is_teardown or task.on_failure_fail_dagrun
    }
    followers = {name: task.downstream_task_ids & counted.keys() for name, task in counted.items()}
    branches = {name: found for name, task in counted.items() if (found := _branches(task))}
    # The last task of a ForEach runs after a failed iteration, and fails; it follows its skips.
    own = {name: task for name, task in counted.items() if not hasattr(task, "items_task")}
    tolerant = {name for name, task in own.items() if task.trigger_rule not in _FAILING_RULES}
    # The end of a PipelineTaskGroup follows its conditions, and one of them skipped a branch.
    unskipped = {
        name
        for name, task in own.items()
        if task.trigger_rule in _UNSKIPPED_RULES or getattr(task, "ends_group", False)
    }
    if not branches and not tolerant:
        return set()
    return hidden_nodes(followers, branches, tolerant, unskipped)


def _branches(task: Any) -> list[Collection[str]]:
    """The tasks that a task may skip, one collection for each of its branches."""
    if hasattr(task, "if_steps"):  # a ConditionOperator
        branches = (task.if_steps or (), task.else_steps or ())
        return [[one.task_id for one in branch] for branch in branches if branch]
    skips = task.trigger_rule in _AFTER_FAILURE or getattr(task, "inherits_from_skipmixin", False)
    if skips or (isinstance(task, GateOperator) and task.trigger != ANY):
        return [[one] for one in task.downstream_task_ids]
    return []
