"""The operator of a ForEach step: a mapped task group between two tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from sagebridge.authoring.dag_pipeline import BODY, ITEMS
from sagebridge.model.for_each import ForEachStep, Selector
from sagebridge.model.pipeline import Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value
from sagebridge_operators.airflow._compat import (
    AirflowSkipException,
    BaseOperator,
    Context,
    DictOfListsExpandInput,
    MappedTaskGroup,
)
from sagebridge_operators.airflow.driven_task import DrivenTask
from sagebridge_operators.airflow.step_operators import StepOperator, own_id

_SHARED = ("dag", "task_group", "pool", "queue", "executor", "executor_config", "priority_weight")
"""Arguments of the last task that the first one shares."""
_OF_ENTRY = ("trigger_rule", "depends_on_past", "wait_for_downstream")
"""Arguments that say when the step starts, so they belong to its first task."""
LABEL = "sagebridge_item"
"""The value in a task's context that Airflow's UI shows for an iteration."""
# Airflow renders it before and after the task, and rejects undefined names.
_TEMPLATE = f"{{{{ {LABEL} if {LABEL} is defined else ti.map_index }}}}"


class ForEachOperator(StepOperator):
    """Runs the steps of its body once for each item.

    The steps created in its ``with`` block are the body::

        with ForEachOperator(task_id="Fan", items=parameter("Regions"), max_concurrency=2) as fan:
            LambdaOperator(task_id="Score", function_arn=…, arguments={"region": current_item})

    Args:
        items: a list of at most 100 scalars and references, or a reference to a string that
            contains a JSON list. ``current_item`` in the body refers to the item. With a body of
            code: a list of any JSON.
        max_concurrency: how many iterations run at the same time: 1 to 50.
        selector: ``max_by(…)`` or ``min_by(…)`` of an ``iteration_output``: the iteration whose
            outputs are ``fan.properties.Selected``.
        body: ABSENT for a definition without a body, which is invalid.
        skip_if_empty: skip the step if there are no items; otherwise it succeeds.

    The DAG has a task ``Fan_items``, which waits for everything that the step and its body need; a
    mapped task group ``Fan_body`` with the tasks of the body; and the task ``Fan``, which ends with
    the outputs of the step.

    In a definition this is the ForEach step; it makes no AWS call.
    """

    step_type: ClassVar[str] = "ForEach"

    def __init__(
        self,
        *,
        items: Value = ABSENT,
        max_concurrency: Value = ABSENT,
        selector: Selector | Absent = ABSENT,
        body: Absent | tuple[()] = (),
        **kwargs: Any,
    ) -> None:
        self.items = self._without_run_time_values(items)
        self.max_concurrency, self.selector = max_concurrency, selector
        self._no_body = body is ABSENT
        self.body: list[StepOperator] = []
        self.group: ForEachGroup | None = None
        kwargs.setdefault("arguments", EMPTY)
        kwargs.setdefault("retries", 0)
        # Created first, since ``connect`` links it with the steps that the items need.
        shared = {name: kwargs[name] for name in _SHARED if name in kwargs}
        shared |= {name: kwargs.pop(name) for name in _OF_ENTRY if name in kwargs}
        self.items_task = ForEachItems(
            for_each=self, task_id=f"{kwargs['task_id']}{ITEMS}", retries=0, **shared
        )
        # A failed iteration must not keep the last task from collecting the others.
        super().__init__(trigger_rule="all_done", **kwargs)
        super().set_upstream(self.items_task)

    @property
    def entry(self) -> BaseOperator:
        return self.items_task

    @property
    def step(self) -> ForEachStep:
        """The ForEach step with the current steps of its body."""
        common = {field.name: getattr(self._step, field.name) for field in fields(Step)}
        steps = [operator.step for operator in self.body]
        nested = {inner.name for step in steps for inner in walk(step.inner)}
        body = tuple(step for step in steps if step.name not in nested)
        return ForEachStep(
            **common,
            items=self.items,
            max_concurrency=self.max_concurrency,
            selector=self.selector,
            body=ABSENT if self._no_body and not body else body,
        )

    @property
    def roots(self) -> list[BaseOperator]:
        """The tasks that wait for what is upstream of the step: ``first >> fan``."""
        return [self.items_task]

    def set_upstream(self, *args: Any, **kwargs: Any) -> None:
        """Makes the first task of the step wait for other tasks: ``fan << first``."""
        self.items_task.set_upstream(*args, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Ends the step; returns its outputs.

        They are also separate XComs: ``status``, ``input_item_count``, ``succeeded_step_count`` and
        so on, and ``selected`` with the step and index of the Selector. Raises AirflowFailException
        if an iteration did not succeed, and AirflowSkipException if the step was skipped.
        """
        from sagebridge_operators.airflow import task_log
        from sagebridge_operators.airflow.for_each_slots import states_of

        begun = states_of(context["ti"], [self.items_task.task_id])
        match begun.get(self.items_task.task_id):
            case "skipped":
                raise AirflowSkipException(f"{self.items_task.task_id} was skipped")
            case "upstream_failed":
                raise task_log.failure("not started, since a step before it failed")
        return self.run_step(context)

    def _prepare(self, context: Context, *, resumes: bool) -> Any:
        return _driver(self, context)

    def _drive(self, driver: Any, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        try:
            outputs: dict[str, Any] = driver.finish()
        except Exception:
            if driver.attempt is not None:  # a step with a trigger may read why it runs
                found = driver.attempt.outputs or {}
                for key, value in {**found, "return_value": found}.items():
                    context["ti"].xcom_push(key=key, value=value)
            raise
        return outputs

    def __enter__(self) -> Self:
        self.group = ForEachGroup(
            group_id=f"{own_id(self)}{BODY}",
            prefix_group_id=False,
            expand_input=DictOfListsExpandInput({"index": self.items_task.output}),
            dag=self.dag,
            parent_group=self.task_group,
        )
        self.group.for_each = self
        self.group.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        assert self.group is not None
        self.group.__exit__(*raised)  # type: ignore[no-untyped-call]
        if not self.body:
            return
        super().set_upstream(self.group)
        limit = self.max_concurrency
        for operator in self.body:
            operator.map_index_template = _TEMPLATE
            # Not the whole limit: see for_each_slots. It keeps tasks from starting in vain.
            if isinstance(limit, int) and operator.max_active_tis_per_dagrun is None:
                operator.max_active_tis_per_dagrun = limit


class ForEachGroup(MappedTaskGroup):
    """The body of a ForEach: its tasks run once for each index of an item."""

    for_each: ForEachOperator

    def child_id(self, label: str) -> str:
        """The id of a task in the body, which has the prefix of the group around the ForEach."""
        parent: Any = self.parent_group
        return str(parent.child_id(label)) if parent is not None else label


class ForEachItems(DrivenTask, BaseOperator):
    """The first task of a ForEach: resolves the items of ``for_each``, once."""

    retries_for_lost_workers: ClassVar[int] = 2
    ui_color = ForEachOperator.ui_color

    def __init__(self, *, for_each: ForEachOperator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.for_each = for_each

    def execute(self, context: Context) -> list[int]:
        """Returns the indexes of the items, which are in the records.

        Raises AirflowFailException if there is no list of items.
        """
        found: list[int] = self._run(context)
        return found

    def _prepare(self, context: Context, *, resumes: bool) -> Any:
        return _driver(self.for_each, context)

    def _drive(self, driver: Any, context: Context, event: Mapping[str, Any]) -> list[int]:
        return list(range(len(driver.begin())))


def _driver(loop: ForEachOperator, context: Context) -> Any:
    """The driver of a ForEach. A task that a user cleared resolves the items again.

    Not in a retried execution, whose iterations that succeeded keep their results.
    """
    from sagebridge_operators.airflow.task_runtime import step_task
    from sagebridge_operators.lifecycle.for_each import ForEachDriver
    from sagebridge_operators.lifecycle.retry import Retry

    task = step_task(loop, context)
    retry = Retry.of(task.records.execution(task.execution.id))
    return ForEachDriver(task, loop.log, renew=not retry.number)
