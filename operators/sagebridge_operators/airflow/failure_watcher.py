"""A last task that fails the DAG run if a step failed and Airflow would hide it.

Airflow derives the state of a DAG run from its leaf tasks (update_state in
airflow/models/dagrun.py). If everything downstream of a failed step is skipped, because of a branch
not taken, the run would be a success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, Context

from sagebridge_operators.airflow.step_operators import StepOperator
from sagebridge_operators.airflow.task_log import failure


class WatchOperator(BaseOperator):
    """Fails if one of the ``watched`` steps failed, otherwise is skipped.

    It is not a step of the pipeline. Its trigger rule is ``one_failed``.
    """

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
        raise failure(f"one of the steps {names} failed; see the log of its task for the reason")
