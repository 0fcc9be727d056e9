"""Tests of run-time values, as the conditions of a Condition step."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.pipeline_builder import ConditionHandle
from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.prefect.recording.code_steps import Frame, result_type
from sagebridge.formats.prefect.recording.step_recorder import BranchTest
from sagebridge.formats.prefect.recording.symbols import (
    definition_value,
    holds_symbol,
    is_symbol,
    type_of,
)
from sagebridge.model.conditions import Comparison, ComparisonType, Condition, In, Not, Or, equals
from sagebridge.model.expressions import Properties
from sagebridge.model.values import Value

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.expressions import Expressions

_COMPARISONS: Mapping[type[ast.cmpop], ComparisonType] = {
    ast.Eq: "Equals",
    ast.NotEq: "Equals",
    ast.Lt: "LessThan",
    ast.LtE: "LessThanOrEqualTo",
    ast.Gt: "GreaterThan",
    ast.GtE: "GreaterThanOrEqualTo",
}
_EMPTY: Mapping[str, Value] = {"String": "", "Integer": 0, "Float": 0.0}
SCALARS = ("String", "Integer", "Float", "Boolean")


class NeedsCode(BaseException):
    """A value that a step must compute; ``node`` is its expression without calls of tasks."""

    def __init__(self, node: ast.expr | None) -> None:
        self.node = node
        super().__init__()


class NotFollowed(BaseException):
    """A statement, or the ``whole`` flow, whose tasks cannot be separate steps."""

    def __init__(
        self, line: int, what: str, code: str = "run-time-code", *, whole: bool = False
    ) -> None:
        self.line, self.what, self.code, self.whole = line, what, code, whole
        super().__init__(what)


class Tests:
    """Evaluates tests for the expressions of a flow."""

    __test__ = False

    def __init__(self, owner: Expressions) -> None:
        self.owner = owner

    def decided(self, node: ast.expr, frame: Frame, *, own_step: bool = True) -> bool | BranchTest:
        """A test: its known outcome, or the conditions on run-time values."""
        line = node.lineno
        if self.owner.engine.calls(node, frame.scope):
            node = self.owner.lifted(node, frame)
        try:
            found = self._test(node, frame)
        except NeedsCode as needs:
            if not own_step or self.owner.no_code:
                raise NeedsCode(needs.node) from None
            made = ast.Call(ast.Name("bool", ast.Load()), [node], [])
            whole = node if result_type(node) == "Boolean" else ast.copy_location(made, node)
            value = self.owner.expression_step(ast.fix_missing_locations(whole), frame, "test")
            return BranchTest((equals(definition_value(value), True),), line, name=[])
        if isinstance(found, str):
            return BranchTest((), line, own=found, name=[found])
        if isinstance(found, bool):
            return found
        return BranchTest(found, line, name=[])

    def _test(self, node: ast.expr, frame: Frame) -> bool | str | tuple[Condition, ...]:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = self._test(operand, frame)
                if isinstance(found, str):
                    raise NeedsCode(node)
                return not found if isinstance(found, bool) else _negated(found)
            case ast.BoolOp(op=operator, values=values):
                return self._all_or_any(isinstance(operator, ast.Or), values, node, frame)
            case ast.Compare(left=left, ops=operators, comparators=rights):
                return self._compared(node, [left, *rights], operators, frame)
        try:
            value = self.owner.plain_value(node, frame)
        except NeedsCode:
            raise NeedsCode(node) from None
        if isinstance(value, ConditionHandle) if not is_symbol(value) else False:
            return str(value.name)
        if not is_symbol(value):
            if isinstance(value, Properties):
                raise NeedsCode(node)
            return bool(value)
        kind = type_of(value) or ""
        if kind == "Boolean":
            return (equals(definition_value(value), True),)
        if kind in _EMPTY:
            return (Not(equals(definition_value(value), _EMPTY[kind])),)
        raise NeedsCode(node)

    def _all_or_any(
        self, either: bool, values: Sequence[ast.expr], node: ast.expr, frame: Frame
    ) -> bool | tuple[Condition, ...]:
        found: list[tuple[Condition, ...]] = []
        for one in values:
            test = self._test(one, frame)
            if isinstance(test, str):
                raise NeedsCode(node)
            if isinstance(test, bool):
                if test is either:
                    return either if not found else self._raise(node)
            else:
                found.append(test)
        if not found:
            return not either
        if not either:
            return tuple(one for test in found for one in test)
        return (Or(tuple(map(_single, found))),) if len(found) > 1 else found[0]

    @staticmethod
    def _raise(node: ast.expr) -> bool:
        raise NeedsCode(node)

    def _compared(
        self,
        node: ast.Compare,
        sides: Sequence[ast.expr],
        operators: Sequence[ast.cmpop],
        frame: Frame,
    ) -> bool | tuple[Condition, ...]:
        values = [self.owner.inner(one, node, frame) for one in sides]
        if not any(holds_symbol(one) or isinstance(one, Properties) for one in values):
            return bool(self.owner.native(node, frame))
        found: list[Condition] = []
        for at, operator in enumerate(operators):
            left, right = values[at], values[at + 1]
            if isinstance(operator, ast.In | ast.NotIn) and type(right) in (list, tuple, set):
                items = sorted(right, key=str) if type(right) is set else right
                if not all(_comparable(left, one) for one in items):
                    raise NeedsCode(node)
                one: Condition = In(
                    definition_value(left), tuple(definition_value(item) for item in items)
                )
                found.append(Not(one) if isinstance(operator, ast.NotIn) else one)
                continue
            if isinstance(operator, ast.Is | ast.IsNot) and right is None and len(operators) == 1:
                if is_symbol(left) and left._made is not None and not self.owner.trace.is_set(left):
                    empty = equals(definition_value(left), "")
                    return (Not(empty) if isinstance(operator, ast.IsNot) else empty,)
                if not self.owner.trace.is_set(left):
                    raise NeedsCode(node)
                return isinstance(operator, ast.IsNot)
            kind = _COMPARISONS.get(type(operator))
            if kind is None or not _comparable(left, right, ordered=kind != "Equals"):
                raise NeedsCode(node)
            made = Comparison(kind, definition_value(left), definition_value(right))
            found.append(Not(made) if isinstance(operator, ast.NotEq) else made)
        return tuple(found)


def _kind(value: Any) -> str:
    """The parameter type of an operand; empty if it is unknown, OBJECT if it has none."""
    if is_symbol(value):
        found: str = value._type
        return found if found in ("", *SCALARS) else OBJECT
    if isinstance(value, Properties):
        return ""
    if isinstance(value, Enum):
        value = value.value
    kinds = {str: "String", bool: "Boolean", int: "Integer", float: "Float"}
    return kinds.get(type(value), OBJECT)


def _comparable(left: Any, right: Any, *, ordered: bool = False) -> bool:
    """Whether a condition compares two values as Python does."""
    kinds = {_kind(left), _kind(right)}
    if OBJECT in kinds or kinds == {""}:
        return False
    known = kinds - {""}
    if ordered:
        return known <= {"Integer", "Float"}
    return len(known) == 1 or known == {"Integer", "Float"}


def _negated(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    found = tuple(map(_opposite, conditions))
    return found if len(found) == 1 else (Or(found),)


def _opposite(condition: Condition) -> Condition:
    return condition.condition if isinstance(condition, Not) else Not(condition)


def _single(conditions: tuple[Condition, ...]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    return _opposite(_negated(conditions)[0])
