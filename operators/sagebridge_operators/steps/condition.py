"""Condition: evaluates the conditions of a step. Makes no AWS call.

The condition types are those of the Pipelines schema ("Condition step" in the SageMaker AI
Developer Guide). Integers and floats compare as numbers. Other values compare only within their own
type: comparing a string with a number, or two booleans by size, fails the step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, assert_never

from sagebridge.model.conditions import Comparison, Condition, In, Not, Or, UnknownCondition
from sagebridge.model.values import Value
from sagebridge_operators.run_errors import IncomparableValues, NotRunnable

Resolve = Callable[[Value], Any]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


def all_hold(conditions: Sequence[Condition], resolve: Resolve) -> bool:
    """Whether every condition holds; evaluated in order. True for an empty list."""
    return all(holds(condition, resolve) for condition in conditions)


def holds(condition: Condition, resolve: Resolve) -> bool:
    """Whether a condition holds.

    Raises :class:`IncomparableValues`, NotRunnable for an unknown condition, and the errors of
    ``resolve``.
    """
    match condition:
        case Comparison():
            return compare(condition.type, resolve(condition.left), resolve(condition.right))
        case In():
            query = resolve(condition.query)
            return any(compare("Equals", query, resolve(value)) for value in condition.values)
        case Not():
            return not holds(condition.condition, resolve)
        case Or():
            return any(holds(one, resolve) for one in condition.conditions)
        case UnknownCondition():
            raise NotRunnable(f"this condition: {condition.raw!r}")
    assert_never(condition)


def compare(type_: str, left: Any, right: Any) -> bool:
    """Compares two resolved values. Raises :class:`IncomparableValues`."""
    if _kind(left) != _kind(right) or _kind(left) is None:
        raise IncomparableValues(type_, left, right)
    if type_ == "Equals":
        return bool(left == right)
    if _kind(left) == "Boolean":
        raise IncomparableValues(type_, left, right)
    return _ORDER[type_](left, right)


def _kind(value: Any) -> str | None:
    match value:
        case bool():
            return "Boolean"
        case int() | float():
            return "number"
        case str():
            return "String"
    return None
