"""Condition: evaluates the conditions of a step. Makes no AWS call.

The condition types are those of the Pipelines schema ("Condition step" in the SageMaker AI
Developer Guide). Integers and floats compare as numbers. Other values compare only within their own
type: comparing a string with a number, or two booleans by size, fails the step.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from sagebridge.model.conditions import Comparison, Condition, In, Not, Or, UnknownCondition
from sagebridge.model.values import Value
from sagebridge_operators.run_errors import IncomparableValues, NotRunnable, describe_value

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_SIGNS = {
    "Equals": "==",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
}
_LONGEST = 200
"""Characters of a string that a report shows."""
_WIDTH = 100
"""Characters of a line in a log; Airflow's UI does not wrap lines."""
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a comparison.

    Args:
        source: where the value comes from, such as ``parameter Limit``; empty for a literal.
        problem: why there is no value; otherwise empty.
        secret: whether reports and messages mask the value.
    """

    value: Any
    source: str = ""
    problem: str = ""
    secret: bool = False

    def __str__(self) -> str:
        return _MASK if self.secret else repr(self._shown())

    def with_source(self) -> str:
        return f"{self} ({self.source})" if self.source else str(self)

    def described(self) -> str:
        """The value with its type and source, for error messages."""
        if self.problem:
            return f"a missing value ({self.problem})"
        text = describe_value(self.value, secret=self.secret)
        return f"{text} from {self.source}" if self.source else text

    def as_json(self) -> dict[str, Any]:
        source = {"source": _cut(self.source)} if self.source else {}
        return {"value": self._shown(), **source}

    def _shown(self) -> Any:
        """The value as a report contains it: JSON, so without NaN."""
        if self.secret:
            return _MASK
        if isinstance(self.value, float) and not math.isfinite(self.value):
            return str(self.value)
        return _cut(self.value) if isinstance(self.value, str) else self.value


Find = Callable[[Value], Operand]


@dataclass(frozen=True, slots=True)
class Result:
    """An evaluated condition.

    Args:
        holds: None if the condition was not needed and could not be evaluated.
        operands: the values that were compared.
        parts: the results of nested conditions.
        problem: why ``holds`` is None.
    """

    condition: Condition
    holds: bool | None
    operands: tuple[Operand, ...] = ()
    parts: tuple[Result, ...] = ()
    problem: str = ""

    def lines(self, indent: str = "") -> Iterator[str]:
        """The condition with its values, one line per comparison; long sources are below it."""
        head = f"{indent}[{'not evaluated' if self.holds is None else self.holds}] "
        text = self._text(*(one.with_source() for one in self.operands))
        if len(head + text) <= _WIDTH:
            yield head + text
        else:
            yield head + self._text(*map(str, self.operands))
            yield from (f"{indent}    {one}: {one.source}" for one in self.operands if one.source)
        for part in self.parts:
            yield from part.lines(f"{indent}  ")

    def as_json(self) -> dict[str, Any]:
        """The condition with its values, with the keys of the model in lower case."""
        report: dict[str, Any] = {"type": type_of(self.condition)}
        operands = [one.as_json() for one in self.operands]
        if self.problem:
            report["problem"] = _cut(self.problem)
        elif isinstance(self.condition, Comparison):
            report["left"], report["right"] = operands
        elif isinstance(self.condition, In):
            report["query"], *report["values"] = operands
        else:
            report["conditions"] = [part.as_json() for part in self.parts]
        return {**report, "holds": self.holds}

    def _text(self, *operands: str) -> str:
        if self.problem:
            return f"{type_of(self.condition)}: {_cut(self.problem)}"
        match self.condition:
            case Comparison(type=type_):
                left, right = operands
                return f"{left} {_SIGNS[type_]} {right}"
            case In():
                query, *values = operands
                return f"{query} in [{', '.join(values)}]"
        return type_of(self.condition).lower()


def type_of(condition: Condition) -> str:
    """The condition's type, as in a definition."""
    return condition.type if isinstance(condition, Comparison) else type(condition).__name__


def evaluate_all(conditions: Sequence[Condition], find: Find) -> tuple[Result, ...]:
    """The results of a step's conditions; the step takes its if branch if all of them hold.

    Conditions after one that does not hold are evaluated for the report only, so an error there
    does not fail the step. ``find`` returns the value of an operand. Raises as :func:`evaluate`.
    """
    results: list[Result] = []
    for condition in conditions:
        needed = all(result.holds for result in results)
        results.append(evaluate(condition, find, needed=needed))
    return tuple(results)


def evaluate(condition: Condition, find: Find, *, needed: bool = True) -> Result:
    """The result of one condition.

    If it is needed, raises :class:`IncomparableValues`, NotRunnable for an unknown condition, and
    the errors of ``find``.
    """
    try:
        return _evaluate(condition, find)
    except Exception as error:
        if needed:
            raise
        return Result(condition, None, problem=str(error))


def _evaluate(condition: Condition, find: Find) -> Result:
    match condition:
        case Comparison():
            left, right = find(condition.left), find(condition.right)
            return Result(condition, compare(condition.type, left, right), (left, right))
        case In():
            query, holds = find(condition.query), False
            compared = [query]
            for value in condition.values:
                compared.append(find(value))
                if holds := compare("Equals", query, compared[-1]):
                    break
            return Result(condition, holds, tuple(compared))
        case Not():
            inner = _evaluate(condition.condition, find)
            return Result(condition, not inner.holds, parts=(inner,))
        case Or():
            parts: list[Result] = []
            for one in condition.conditions:
                needed = not any(part.holds for part in parts)
                parts.append(evaluate(one, find, needed=needed))
            return Result(condition, any(part.holds for part in parts), parts=tuple(parts))
        case UnknownCondition():
            raise NotRunnable(f"this condition: {condition.raw!r}")
    assert_never(condition)


def compare(type_: str, left: Operand, right: Operand) -> bool:
    """Compares two values. Raises :class:`IncomparableValues`."""
    kind = _kind(left.value)
    if left.problem or right.problem or kind is None or kind != _kind(right.value):
        raise IncomparableValues(type_, left.described(), right.described())
    if type_ == "Equals":
        return bool(left.value == right.value)
    if kind == "Boolean":
        raise IncomparableValues(type_, left.described(), right.described())
    return _ORDER[type_](left.value, right.value)


def _kind(value: Any) -> str | None:
    match value:
        case bool():
            return "Boolean"
        case int() | float():
            return "number"
        case str():
            return "String"
    return None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
