"""Tests of run-time values, as the conditions of a Condition step."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.pipeline_builder import ConditionHandle
from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.prefect.recording.code_steps import Frame, result_type
from sagebridge.formats.prefect.recording.flow_arguments import is_set
from sagebridge.formats.prefect.recording.step_recorder import BranchTest
from sagebridge.formats.prefect.recording.symbols import (
    NeedsCode,
    definition_value,
    holds_symbol,
    is_symbol,
    type_of,
)
from sagebridge.formats.prefect.source.statements import at, test_name
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


class Tests:
    """Evaluates tests for the expressions of a flow."""

    __test__ = False

    def __init__(self, owner: Expressions) -> None:
        self.owner = owner

    def decided(self, node: ast.expr, frame: Frame, *, own_step: bool = True) -> bool | BranchTest:
        """A test: its known outcome, or the conditions on run-time values."""
        line, name = node.lineno, test_name(node) or "test"
        if self.owner.engine.calls(node, frame.scope):
            node = self.owner.lifted(node, frame)
        try:
            found = self._test(node, frame)
        except NeedsCode as needs:
            if not own_step or self.owner.no_code:
                raise NeedsCode(needs.node) from None
            if result_type(node) != "Boolean":
                node = at(ast.Call(ast.Name("bool", ast.Load()), [node], []), node)
            value = self.owner.expression_step(node, frame, name)
            return BranchTest((equals(definition_value(value), True),), line, name=[])
        if isinstance(found, str):
            return BranchTest((), line, own=found, name=[found])
        return found if isinstance(found, bool) else BranchTest(found, line, name=[])

    def _test(self, node: ast.expr, frame: Frame) -> bool | str | tuple[Condition, ...]:
        """The outcome, conditions that must all hold, or the name of a condition step."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = self._part(operand, node, frame)
                return not found if isinstance(found, bool) else _negated(found)
            case ast.BoolOp(op=operator, values=values):
                return self._all_or_any(isinstance(operator, ast.Or), values, node, frame)
            case ast.Compare():
                return self._compared(node, frame)
        value = self.owner.inner(node, node, frame)
        kind = type_of(value) or ""
        if kind == "Boolean":
            return (equals(definition_value(value), True),)
        if kind in _EMPTY:
            return (Not(equals(definition_value(value), _EMPTY[kind])),)
        if is_symbol(value) or isinstance(value, Properties):
            raise NeedsCode(node)
        return str(value.name) if isinstance(value, ConditionHandle) else bool(value)

    def _part(self, node: ast.expr, whole: ast.expr, frame: Frame) -> bool | tuple[Condition, ...]:
        found = self._test(node, frame)
        if isinstance(found, str):
            raise NeedsCode(whole)
        return found

    def _all_or_any(
        self, either: bool, values: Sequence[ast.expr], node: ast.expr, frame: Frame
    ) -> bool | tuple[Condition, ...]:
        found: list[tuple[Condition, ...]] = []
        for one in values:
            test = self._part(one, node, frame)
            if not isinstance(test, bool):
                found.append(test)
            elif test is either:
                if found:
                    raise NeedsCode(node)
                return either
        if not found:
            return not either
        if not either:
            return tuple(one for test in found for one in test)
        return (Or(tuple(map(_single, found))),) if len(found) > 1 else found[0]

    def _compared(self, node: ast.Compare, frame: Frame) -> bool | tuple[Condition, ...]:
        values = [self.owner.inner(one, node, frame) for one in (node.left, *node.comparators)]
        if not any(holds_symbol(one) or isinstance(one, Properties) for one in values):
            return bool(self.owner.native(node, frame))
        match node.ops, values:
            case [ast.Is() | ast.IsNot() as operator], [left, None]:
                if not is_set(self.owner.trace, left):
                    raise NeedsCode(node)
                return isinstance(operator, ast.IsNot)
        pairs = zip(values, node.ops, values[1:], strict=False)
        return tuple(_comparison(left, operator, right, node) for left, operator, right in pairs)


def _comparison(left: Any, operator: ast.cmpop, right: Any, node: ast.expr) -> Condition:
    """The condition of one operator. Raises :class:`NeedsCode` if there is no such condition."""
    found: Condition
    if isinstance(operator, ast.In | ast.NotIn) and type(right) in (list, tuple, set):
        items = sorted(right, key=str) if type(right) is set else right
        if not all(_comparable(left, one) for one in items):
            raise NeedsCode(node)
        found = In(definition_value(left), tuple(definition_value(item) for item in items))
    else:
        kind = _COMPARISONS.get(type(operator))
        if kind is None or not _comparable(left, right, ordered=kind != "Equals"):
            raise NeedsCode(node)
        found = Comparison(kind, definition_value(left), definition_value(right))
    return Not(found) if isinstance(operator, ast.NotEq | ast.NotIn) else found


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
