"""Calls custom operators: classes derived from a base class of Airflow, or its stand-in in a flow.

They are known by the names of their base classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sagebridge.model.code_steps import BRANCH, SENSOR
from sagebridge_operators.lifecycle.user_code.function_call import StopInterrupt

_METHODS = {SENSOR: "poke", BRANCH: "choose_branch"}


def is_operator(function: object) -> bool:
    """Whether a step calls an operator."""
    bases = function.__mro__ if isinstance(function, type) else ()
    return any(one.__name__ == "BaseOperator" for one in bases)


def call_of(
    operator_class: Callable[..., Any], step: str, role: str, context: Mapping[str, Any]
) -> Callable[..., Any]:
    """A function of the arguments of the class; a sensor is created once and called again."""
    made: list[Any] = []

    def call(**arguments: Any) -> Any:
        made[:] = made or [operator_class(**{"task_id": step, **arguments})]
        (operator,) = made
        try:
            if role:
                return getattr(operator, _METHODS[role])(context)
            operator.pre_execute(context)
            result = operator.execute(context)
            operator.post_execute(context, result)
        except StopInterrupt:
            operator.on_kill()
            raise
        return result

    return call
