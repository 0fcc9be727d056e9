"""The Amazon provider's SageMakerConditionOperator, whose comparisons mirror SageMaker's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sagebridge.formats.airflow.provider.provider_task import Task, UnreadableTask
from sagebridge.formats.airflow.task_values import RunTimeValue
from sagebridge.model.conditions import COMPARISONS, Comparison, Condition, In, Not, Or
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get
from sagebridge.model.pipeline import ConditionStep
from sagebridge.model.values import EMPTY, Value


def condition_step(task: Task) -> ConditionStep:
    """The step of a SageMakerConditionOperator, with empty branches."""
    conditions = task.operator.conditions
    if not isinstance(conditions, list):
        raise UnreadableTask("its conditions are only known at run time")
    found = tuple(_condition(task, one) for one in conditions)
    return ConditionStep(
        task.name, "Condition", arguments=EMPTY, conditions=found, if_steps=(), else_steps=()
    )


def _condition(task: Task, raw: Any) -> Condition:
    match raw:
        case {"type": str(type_), "left_value": left, "right_value": right} if type_ in COMPARISONS:
            return Comparison(type_, *_operands(task, left, right))
        case {"type": "In", "value": value, "in_values": list() | tuple() as among}:
            query, *rest = _operands(task, value, *among)
            return In(query, tuple(rest))
        case {"type": "Not", "condition": Mapping() as inner}:
            return Not(_condition(task, inner))
        case {"type": "Or", "conditions": list() as several}:
            return Or(tuple(_condition(task, one) for one in several))
    raise UnreadableTask(f"its condition {shown(raw)} is only known at run time")


def _operands(task: Task, *raw: Any) -> list[Value]:
    """The operands of a comparison. Airflow converts strings to numbers and booleans."""
    literals = [_cast(one) for one in raw]
    numeric = any(isinstance(one, int | float) and not isinstance(one, bool) for one in literals)

    def fallback(unknown: RunTimeValue) -> Value:
        unknown.type = "Float" if numeric else "String"
        return task.fallback(unknown)

    values = [task.values.of(one, fallback, typed=True) for one in literals]
    if numeric and any(_is_string(task, one) for one in values):
        what = "it compares a String parameter with a number; only Airflow converts the string"
        task.report("compared-text", "changed", what, "declare the parameter as a number")
    return values


def _is_string(task: Task, value: Value) -> bool:
    declared = task.values.types
    return (
        isinstance(value, Get)
        and value.root == "Parameters"
        and declared.get(value.name) == "String"
    )


def _cast(value: Any) -> Any:
    """The value of a string, as in ``SageMakerConditionOperator._cast``."""
    if not isinstance(value, str):
        return value
    for number in (int, float):
        with suppress(ValueError, OverflowError):
            if math.isfinite(found := number(value)):
                return found
    return {"true": True, "false": False}.get(value.lower(), value)
