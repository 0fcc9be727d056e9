"""A last task that fails when a step did whose failure Airflow would not show.

Airflow judges a DAG run by its last tasks. Where all that wait for a failed step were skipped, for
a branch that was not taken, it would call the run a success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, Context

from sagebridge_operators.airflow.step_operators import StepOperator


class WatchOperator(BaseOperator):
    """Fails when one of the ``watched`` steps has failed, else is skipped; it is no step itself."""

    def __init__(self, *, watched: Sequence[StepOperator], **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "one_failed")
        kwargs.setdefault("retries", 0)
        super().__init__(**kwargs)
        self.watched = tuple(operator.step.name for operator in watched)
        self.set_upstream(list(watched))

    def execute(self, context: Context) -> None:
        """Raises AirflowFailException."""
        del context
        names = ", ".join(self.watched)
        raise AirflowFailException(f"one of the steps {names} failed; its task has the reason")
