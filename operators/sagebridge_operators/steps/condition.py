"""Condition: which branch is taken. No AWS call; section "Conditions" of the Pipelines guide.

Ints and floats compare as numbers. Everything else compares within its own type only: a string
against a number, or a boolean by size, fails the step with both values named.
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
    """Whether every condition holds, asked in order until one does not; none at all holds."""
    return all(holds(condition, resolve) for condition in conditions)


def holds(condition: Condition, resolve: Resolve) -> bool:
    """Raises :class:`IncomparableValues`, or what ``resolve`` raises for a missing value."""
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
            raise NotRunnable(f"a condition of this form: {condition.raw!r}")
    assert_never(condition)


def compare(type_: str, left: Any, right: Any) -> bool:
    """One comparison of two resolved values."""
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
