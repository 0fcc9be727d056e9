"""The operator in the place of a task that a translation dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagebridge.model.code_steps import STUB, StubStep, stub_arguments
from sagebridge_operators.airflow.step_operators import StepOperator


class StubOperator(StepOperator):
    """Fails when it runs, and is never retried. Replace it with a task that does the work.

    Args:
        reason: why a translation dropped the task.
        dropped_from: where the task was, as ``file:line``.
        source: lines of its source. They are data: nothing runs or renders them.

    Other arguments are those of :class:`StepOperator`.
    """

    step_type = STUB
    retries_for_lost_workers = 0

    def __init__(
        self, *, reason: str, dropped_from: str = "", source: Sequence[str] = (), **kwargs: Any
    ) -> None:
        kwargs.setdefault("retries", 0)
        super().__init__(arguments=stub_arguments(reason, dropped_from, source), **kwargs)
        self._step = StubStep.of(self._step)
