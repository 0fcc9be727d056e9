"""Conditions of a Condition step, as in "Conditions" of the SageMaker Pipelines guide.

``spelling`` preserves the two forms that only AWS's published schema has (``NotEquals``/``NotIn``
and ``Value``/``In``), so that a definition is written back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sagebridge.model.display import shown
from sagebridge.model.expressions import plain
from sagebridge.model.values import EMPTY, Object, Strict, Value

ComparisonType = Literal[
    "Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"
]
COMPARISONS: tuple[ComparisonType, ...] = (
    "Equals",
    "GreaterThan",
    "GreaterThanOrEqualTo",
    "LessThan",
    "LessThanOrEqualTo",
)
CONDITION_TYPES = (*COMPARISONS, "NotEquals", "In", "NotIn", "Not", "Or")


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Strict):
    _parts = ("left", "right")

    type: ComparisonType
    left: Value
    right: Value
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class In(Strict):
    _parts = ("query", "values")

    query: Value
    values: tuple[Value, ...]
    spelling: Literal["", "Value/In"] = ""
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class Not(Strict):
    _parts = ("condition",)

    condition: Condition
    spelling: Literal["", "NotEquals", "NotIn"] = ""
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class Or(Strict):
    _parts = ("conditions",)

    conditions: tuple[Condition, ...]
    extra: Object = EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class UnknownCondition(Strict):
    """A condition of an unknown type or form, kept unchanged."""

    _parts = ("raw",)

    raw: Value


Condition: TypeAlias = Comparison | In | Not | Or | UnknownCondition


def operands(condition: Condition) -> Iterator[Value]:
    """Every value that a condition compares, nested ones included."""
    match condition:
        case Comparison(left=left, right=right):
            yield from (left, right)
        case In(query=query, values=values):
            yield query
            yield from values
        case Not(condition=inner):
            yield from operands(inner)
        case Or(conditions=inner_conditions):
            for one in inner_conditions:
                yield from operands(one)
        case UnknownCondition(raw=raw):
            yield raw


def equals(left: Value, right: Value, *, extra: Mapping[str, Value] = EMPTY) -> Comparison:
    """``left == right``. ``extra`` has unknown keys of the condition."""
    return _comparison("Equals", left, right, extra)


def greater_than(left: Value, right: Value, *, extra: Mapping[str, Value] = EMPTY) -> Comparison:
    """``left > right``."""
    return _comparison("GreaterThan", left, right, extra)


def greater_than_or_equal_to(
    left: Value, right: Value, *, extra: Mapping[str, Value] = EMPTY
) -> Comparison:
    """``left >= right``."""
    return _comparison("GreaterThanOrEqualTo", left, right, extra)


def less_than(left: Value, right: Value, *, extra: Mapping[str, Value] = EMPTY) -> Comparison:
    """``left < right``."""
    return _comparison("LessThan", left, right, extra)


def less_than_or_equal_to(
    left: Value, right: Value, *, extra: Mapping[str, Value] = EMPTY
) -> Comparison:
    """``left <= right``."""
    return _comparison("LessThanOrEqualTo", left, right, extra)


def is_in(
    query: Value,
    values: Sequence[Value],
    *,
    spelling: Literal["", "Value/In"] = "",
    extra: Mapping[str, Value] = EMPTY,
) -> In:
    """``query`` equals one of ``values``."""
    if isinstance(values, str):
        raise TypeError(f"is_in() expects a list of values, got {shown(values)}")
    return In(plain(query), plain(tuple(values)), spelling, plain(extra))


def not_(
    condition: Condition,
    *,
    spelling: Literal["", "NotEquals", "NotIn"] = "",
    extra: Mapping[str, Value] = EMPTY,
) -> Not:
    """``condition`` does not hold."""
    return Not(checked(condition), spelling, plain(extra))


def or_(*conditions: Condition, extra: Mapping[str, Value] = EMPTY) -> Or:
    """At least one of ``conditions`` holds."""
    return Or(tuple(map(checked, conditions)), plain(extra))


def checked(condition: object) -> Condition:
    """The condition itself. Raises TypeError for anything else, such as ``a == b``."""
    if isinstance(condition, Comparison | In | Not | Or | UnknownCondition):
        return condition
    raise TypeError(f"expected a condition such as equals(…), got {shown(condition)}")


def other_condition(raw: Mapping[str, Value]) -> UnknownCondition:
    """A condition of an unknown type, as JSON."""
    return UnknownCondition(plain(raw))


def _comparison(
    type_: ComparisonType, left: Value, right: Value, extra: Mapping[str, Value]
) -> Comparison:
    return Comparison(type_, plain(left), plain(right), plain(extra))
