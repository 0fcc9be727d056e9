"""Airflow's base classes of operators, for operators of the user whose steps call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagebridge_operators.prefect.airflow_names.context import get_current_context
from sagebridge_operators.prefect.airflow_names.stores import LoggingMixin


class BaseOperator(LoggingMixin):
    """Airflow's BaseOperator. Arguments that it has itself become attributes."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()

    def __init__(self, *, task_id: str, **arguments: Any) -> None:
        self.task_id = task_id
        vars(self).update(arguments)

    @property
    def dag(self) -> Any:
        """The DAG in the context of the step."""
        return get_current_context()["dag"]

    def __getattr__(self, name: str) -> Any:
        # Settings such as retries and params, which the step has.
        return getattr(get_current_context()["task"], name)

    def pre_execute(self, context: Mapping[str, Any]) -> None:
        """Called before ``execute``."""

    def post_execute(self, context: Mapping[str, Any], result: Any = None) -> None:
        """Called after ``execute``, with its result."""

    def on_kill(self) -> None:
        """Called when the step is stopped."""


class BaseSensorOperator(BaseOperator):
    """Airflow's BaseSensorOperator: the step calls ``poke``."""


class BaseBranchOperator(BaseOperator):
    """Airflow's BaseBranchOperator: the step calls ``choose_branch``."""
