"""The operator of a ForEach step: a mapped task group between two tasks."""

from __future__ import annotations

from dataclasses import fields
from types import TracebackType
from typing import Any, ClassVar, Self

from airflow.providers.common.compat.sdk import BaseOperator, Context
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from sagebridge.authoring.dag_pipeline import BODY, ITEMS
from sagebridge.model.for_each import ForEachStep, Selector
from sagebridge.model.pipeline import Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value
from sagebridge_operators.airflow import task_dependencies
from sagebridge_operators.airflow.step_operators import StepOperator


class ForEachOperator(StepOperator):
    """Runs the steps of its body once for each item.

    The steps created in its ``with`` block are the body::

        with ForEachOperator(task_id="Fan", items=parameter("Regions"), max_concurrency=2) as fan:
            LambdaOperator(task_id="Score", function_arn=…, arguments={"region": current_item})

    Args:
        items: a list of at most 100 scalars and references, or a reference to a string that
            contains a JSON list. ``current_item`` in the body refers to the item.
        max_concurrency: how many iterations run at the same time: 1 to 50.
        selector: ``max_by(…)`` or ``min_by(…)`` of an ``iteration_output``: the iteration whose
            outputs are ``fan.properties.Selected``.
        body: ABSENT for a definition without a body, which is invalid.

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
        self.items = task_dependencies.without_dag_params(items)
        self.max_concurrency, self.selector = max_concurrency, selector
        self._no_body = body is ABSENT
        self.body: list[StepOperator] = []
        self.group: ForEachGroup | None = None
        kwargs.setdefault("arguments", EMPTY)
        # Created first, since ``connect`` links it with the steps that the items need.
        place: dict[str, Any] = {one: kwargs[one] for one in ("dag", "task_group") if one in kwargs}
        place["task_id"] = f"{kwargs['task_id']}{ITEMS}"
        self.items_task = ForEachItems(for_each=self, **place)
        super().__init__(**kwargs)
        self.set_upstream(self.items_task)

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

    def __enter__(self) -> Self:
        self.group = ForEachGroup(
            group_id=f"{self.task_id}{BODY}",
            prefix_group_id=False,
            expand_input=DictOfListsExpandInput({"index": self.items_task.output}),
            dag=self.dag,
            parent_group=self.task_group,
        )
        self.group.for_each = self
        self.group.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.group is not None
        self.group.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        if self.body:
            self.set_upstream(self.group)


class ForEachGroup(MappedTaskGroup):
    """The body of a ForEach: its tasks run once for each index of an item."""

    for_each: ForEachOperator


class ForEachItems(BaseOperator):
    """The first task of a ForEach: resolves the items of ``for_each``."""

    def __init__(self, *, for_each: ForEachOperator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.for_each = for_each

    def execute(self, context: Context) -> list[int]:
        """Returns the indexes of the items."""
        raise NotImplementedError("ForEach steps cannot run yet")
