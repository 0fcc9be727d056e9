"""The operator of a Condition step: branches into two lists of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

from sagebridge.model.conditions import Condition
from sagebridge.model.pipeline import ConditionStep, Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Absent
from sagebridge_operators.airflow import task_dependencies
from sagebridge_operators.airflow._compat import Context, Label, SkipMixin, skip
from sagebridge_operators.airflow.step_operators import StepOperator


class ConditionOperator(StepOperator, SkipMixin):
    """Runs ``if_steps`` if all ``conditions`` hold, otherwise ``else_steps``.

    The steps created in its ``with`` blocks are added to these branches::

        check = ConditionOperator(task_id="Check", conditions=[…])
        with check.met():
            ModelOperator(task_id="Model", arguments={…})
        with check.unmet():
            FailOperator(task_id="Stop", error_message="not good enough")

    Args:
        conditions: ``equals(...)``, ``greater_than(...)``, ``not_(...)`` and the like; an empty
            list holds.
        if_steps, else_steps: the operators of both branches. They become downstream tasks, with the
            edge label If or Else.

    The tasks of the branch not taken are skipped, and Airflow skips everything downstream of them.
    A task that depends on the condition itself and is in neither list runs after either outcome.
    Raises TypeError if a branch contains anything but sagebridge operators.

    In a definition this is the Condition step ("Condition step" in the SageMaker AI Developer
    Guide); it makes no AWS call.
    """

    step_type: ClassVar[str] = "Condition"
    # As BranchMixIn in airflow/sdk/bases/branch.py: the property of AbstractOperator is False, and
    # NotPreviouslySkippedDep would not skip the branch again after one of its tasks is cleared.
    inherits_from_skipmixin = True

    def __init__(
        self,
        *,
        conditions: Sequence[Condition] | Absent = ABSENT,
        if_steps: Sequence[StepOperator] | Absent | None = ABSENT,
        else_steps: Sequence[StepOperator] | Absent | None = ABSENT,
        **kwargs: Any,
    ) -> None:
        self.if_steps, self.else_steps = _operators(if_steps), _operators(else_steps)
        self._conditions = conditions
        if conditions is not ABSENT:
            self._conditions = self._without_run_time_values(tuple(conditions))
        kwargs.setdefault("arguments", EMPTY)
        super().__init__(**kwargs)
        self._link("If", self.if_steps)
        self._link("Else", self.else_steps)

    @contextmanager
    def met(self) -> Iterator[None]:
        """The steps created in its ``with`` block run if the conditions hold."""
        with self._created("If") as operators:
            yield
        self.if_steps = (*(self.if_steps or ()), *operators)

    @contextmanager
    def unmet(self) -> Iterator[None]:
        """The steps created in its ``with`` block run if the conditions do not hold."""
        with self._created("Else") as operators:
            yield
        self.else_steps = (*(self.else_steps or ()), *operators)

    @contextmanager
    def _created(self, label: str) -> Iterator[list[StepOperator]]:
        """Links the steps of a branch, which are known at the end of its block.

        Steps inside another one are not in the branch themselves.
        """
        known = task_dependencies.pending_edges(self.dag).operators
        before = len(known)
        found: list[StepOperator] = []
        yield found
        created = list(known.values())[before:]
        nested = {inner.name for one in created for inner in walk(one.step.inner)}
        found += [one for one in created if one.step.name not in nested]
        self._link(label, found)

    def _link(self, label: str, branch: Sequence[StepOperator] | Absent) -> None:
        for operator in branch or ():
            task_dependencies.put_into_branch(operator)
            self >> Label(label) >> operator.entry

    @property
    def step(self) -> ConditionStep:
        """The Condition step with the current steps of its branches."""
        common = {field.name: getattr(self._step, field.name) for field in fields(Step)}
        return ConditionStep(
            **common,
            conditions=self._conditions,
            if_steps=_steps(self.if_steps),
            else_steps=_steps(self.else_steps),
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Skips the tasks of the branch not taken. Returns or raises as StepOperator does."""
        outputs = self.run_step(context)
        # In Airflow 3, skip() raises DownstreamTasksSkipped (airflow/sdk/bases/skipmixin.py), after
        # which Airflow does not push what execute() returns.
        for key, value in {**outputs, "return_value": outputs}.items():
            context["ti"].xcom_push(key=key, value=value)
        not_taken = self.else_steps if outputs["outcome"] else self.if_steps
        if not_taken:
            skip(self, context, [operator.entry for operator in not_taken])
        return outputs


def _operators(
    steps: Sequence[StepOperator] | Absent | None,
) -> tuple[StepOperator, ...] | Absent:
    if steps is ABSENT or steps is None:
        return ABSENT
    for step in steps:
        if not isinstance(step, StepOperator):
            raise TypeError(
                f"expected a sagebridge operator in if_steps or else_steps, got {step!r}"
            )
    return tuple(steps)


def _steps(operators: tuple[StepOperator, ...] | Absent) -> tuple[Step, ...] | Absent:
    return ABSENT if operators is ABSENT else tuple(operator.step for operator in operators)
