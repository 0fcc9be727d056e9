"""Values in calls that deploy a flow, from their source; nothing is executed.

Known are literals, arithmetic, constants of the file, times, and the schedule and trigger classes
of Prefect. A schedule becomes a dict with the keys of a schedule in ``prefect.yaml``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from sagebridge.model.display import words
from sagebridge.model.fire_times import zone
from sagebridge.model.schedule_expressions import ExpressionError

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
    }
)
_COUNTABLE = (int, float, timedelta)
_SCHEDULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Cron": ("cron", "timezone", "day_or", "active", "parameters", "slug"),
        "Interval": ("interval", "anchor_date", "timezone", "active", "parameters", "slug"),
        "RRule": ("rrule", "timezone", "active", "parameters", "slug"),
        "CronSchedule": (),
        "IntervalSchedule": (),
        "RRuleSchedule": (),
        "Schedule": words("interval cron rrule timezone anchor_date day_or active parameters slug"),
        "DeploymentScheduleCreate": (),
        "DeploymentEventTrigger": (),
        "DeploymentCompoundTrigger": (),
        "DeploymentMetricTrigger": (),
        "DeploymentSequenceTrigger": (),
    }
)
"""Classes whose arguments are read, with the names of those without a keyword."""
_TIMEDELTA = ("days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks")
_DATETIME = ("year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo")
_MOST = 1_000


class UnknownValue(Exception):
    """A value that is only known when the file runs."""


@dataclass(frozen=True, slots=True)
class SourceValues:
    """Evaluates expressions; ``names`` has the values that the file assigns to names once."""

    names: Mapping[str, ast.expr]
    _open: list[str] = field(default_factory=list)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression. Raises :class:`UnknownValue`."""
        match node:
            case ast.Constant(value=value) if not isinstance(value, bytes | complex):
                return value
            case ast.Name(id=name) if name in self.names and name not in self._open:
                return self._constant(name)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return [self.value(one) for one in items]
            case ast.Dict(keys=keys, values=items):
                return {self._key(key): self.value(one) for key, one in self._pairs(keys, items)}
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._computed(operator.sub, 0, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._computed(_OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.Attribute(value=ast.Name(id="timezone"), attr="utc"):
                return UTC
            case ast.Attribute(value=ast.Name(id="datetime" | "dt"), attr="UTC"):
                return UTC
            case ast.Name(id="UTC"):
                return UTC
            case ast.Call(func=function):
                return self._call(_last_name(function), node)
        raise UnknownValue

    def _constant(self, name: str) -> Any:
        self._open.append(name)
        if len(self._open) > _MOST:
            raise UnknownValue
        try:
            return self.value(self.names[name])
        finally:
            self._open.pop()

    def _pairs(
        self, keys: Sequence[ast.expr | None], items: Sequence[ast.expr]
    ) -> Iterator[tuple[ast.expr, ast.expr]]:
        for key, item in zip(keys, items, strict=True):
            if key is None:
                raise UnknownValue
            yield key, item

    def _key(self, node: ast.expr) -> str:
        key = self.value(node)
        if not isinstance(key, str):
            raise UnknownValue
        return key

    def _computed(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        if not isinstance(left, _COUNTABLE) or not isinstance(right, _COUNTABLE):
            raise UnknownValue
        if left == 0 and isinstance(right, timedelta):
            left = timedelta()
        try:
            return function(left, right)
        except (ArithmeticError, TypeError) as error:
            raise UnknownValue from error

    def _call(self, name: str, node: ast.Call) -> Any:
        if name in _SCHEDULES:
            given = self._arguments(node, _SCHEDULES[name])
            if isinstance(inner := given.get("schedule"), dict):
                given = {**inner, **given}
                del given["schedule"]
            if name.endswith("Trigger"):
                given.setdefault("type", name[len("Deployment") : -len("Trigger")].lower())
            return given
        try:
            match name:
                case "timedelta" | "duration":
                    return timedelta(**self._arguments(node, _TIMEDELTA))
                case "datetime" | "DateTime":
                    given = self._arguments(node, _DATETIME)
                    if "tz" in given:  # pendulum.datetime
                        given["tzinfo"] = _zone(given.pop("tz"))
                    return datetime(**{"tzinfo": None, **given})  # noqa: DTZ001
                case "date":
                    return date(**self._arguments(node, _DATETIME[:3]))
                case "Decimal" | "Path" | "UUID":
                    return str(*self._arguments(node, ("value",)).values())
                case "ZoneInfo" | "timezone":
                    return _zone(*self._arguments(node, ("key",)).values())
        except (TypeError, ValueError, OverflowError) as error:
            raise UnknownValue from error
        raise UnknownValue

    def _arguments(self, node: ast.Call, names: Sequence[str]) -> dict[str, Any]:
        if len(node.args) > len(names):
            raise UnknownValue
        given = dict(zip(names, map(self.value, node.args), strict=False))
        for keyword in node.keywords:
            if keyword.arg is None:
                raise UnknownValue
            given[keyword.arg] = self.value(keyword.value)
        return given


def _zone(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    try:
        return zone(name)
    except ExpressionError as error:
        raise UnknownValue from error


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def assigned_once(tree: ast.Module) -> dict[str, ast.expr]:
    """The values of the names that a file assigns once, anywhere."""
    found: dict[str, list[ast.expr]] = {}
    bound: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found.setdefault(name, []).append(value)
            case ast.AugAssign(target=ast.Name(id=name)) | ast.arg(arg=name):
                bound.add(name)
            case ast.For(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name)):
                bound.add(name)
    return {
        name: values[0] for name, values in found.items() if len(values) == 1 and name not in bound
    }
