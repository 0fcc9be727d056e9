"""Facts about the statements of a flow."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence
from typing import TypeVar

from sagebridge.formats.prefect.source.names import changed_names, stored_names

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_ENDS = (ast.Return, ast.Raise, ast.Assert)
_Node = TypeVar("_Node", bound=ast.AST)


def at(made: _Node, node: ast.AST) -> _Node:
    """A made node, at the place of another one."""
    return ast.fix_missing_locations(ast.copy_location(made, node))


def controls(node: ast.AST) -> bool:
    """Whether a statement returns, raises or controls a loop, itself or in a branch."""
    return has(node, (*_ENDS, ast.Yield, ast.YieldFrom)) or leaves_function(node)


def has(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> bool:
    if isinstance(node, kinds):
        return True
    return not isinstance(node, _NESTED) and any(
        has(child, kinds) for child in ast.iter_child_nodes(node)
    )


def leaves_function(node: ast.AST) -> bool:
    """Whether a statement ends the function or a loop around it."""
    if isinstance(node, (*_ENDS, ast.Break, ast.Continue)):
        return True
    if isinstance(node, _LOOPS):
        return any(has(one, (ast.Return,)) for one in ast.iter_child_nodes(node))
    return not isinstance(node, _NESTED) and any(map(leaves_function, ast.iter_child_nodes(node)))


def starts_tasks(node: ast.AST) -> bool:
    """Whether code starts tasks of asyncio, which no step can return."""
    return any(
        isinstance(one, ast.Attribute) and one.attr == "create_task" for one in ast.walk(node)
    )


def target_name(targets: Sequence[ast.expr]) -> str:
    return next((one.id for one in targets if isinstance(one, ast.Name)), "")


def verb(node: ast.stmt) -> str:
    """A name for a step of a statement without a result."""
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                return name
    return "code"


def is_submit(node: ast.AST) -> bool:
    """Whether code starts tasks without waiting for each."""
    return any(
        isinstance(one, ast.Attribute) and one.attr in ("submit", "map", "gather")
        for one in ast.walk(node)
    )


def read_elsewhere(nodes: Sequence[ast.AST], function: ast.AST) -> set[str]:
    """The names that a function reads outside of some of its code."""
    inside = {id(one) for node in nodes for one in ast.walk(node)}
    return {
        one.id
        for one in ast.walk(function)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and id(one) not in inside
    }


def set_names(nodes: Sequence[ast.AST]) -> dict[str, None]:
    """The names that code sets, and those whose values it changes."""
    stored = dict.fromkeys(name for node in nodes for name in stored_names(node))
    return stored | dict.fromkeys(name for node in nodes for name in changed_names(node))


def case_test(pattern: ast.pattern, subject: ast.expr) -> ast.expr | None:
    """The test of a pattern of plain values; None for any other."""
    match pattern:
        case ast.MatchAs(pattern=None, name=None):
            return ast.Constant(True)
        case ast.MatchValue(value=value):
            return ast.Compare(subject, [ast.Eq()], [value])
        case ast.MatchOr(patterns=patterns):
            tests = [case_test(one, subject) for one in patterns]
            if all(isinstance(one, ast.Compare) for one in tests):
                return ast.BoolOp(ast.Or(), [one for one in tests if one is not None])
    return None


_ABOUT = {
    ast.Eq: "is",
    ast.NotEq: "is_not",
    ast.Lt: "below",
    ast.LtE: "at_most",
    ast.Gt: "above",
    ast.GtE: "at_least",
    ast.In: "in",
    ast.NotIn: "not_in",
    ast.Is: "is",
    ast.IsNot: "is_not",
}
"""Each comparison in the name of a step."""


def value_name(node: ast.AST | None) -> str:
    """A name for a value: the variable, attribute or key that its expression starts with."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return value_name(value) if name in ("value", "name") else name
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
            return _word(key) or value_name(value)
        case ast.Subscript(value=value):
            return value_name(value)
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str() as key), *_]):
            return _word(key)
        case ast.Call(func=ast.Attribute(value=value), args=given):
            return next(filter(None, map(value_name, given[:1])), "") or value_name(value)
        case ast.Call(func=ast.Name(id="len"), args=[only]):
            return f"{value_name(only)}_count"
        case ast.Call(func=ast.Name(id=name), args=given):
            if not hasattr(builtins, name):
                return name
            return value_name(given[0]) if given and name != "range" else ""
        case ast.BoolOp(values=[first, *_]) | ast.List(elts=[first, *_]):
            return value_name(first)
        case ast.BinOp(left=first, right=second):
            return value_name(first) or value_name(second)
        case ast.Await(value=value) | ast.UnaryOp(operand=value) | ast.NamedExpr(target=value):
            return value_name(value)
        case ast.ListComp(generators=[one, *_]) | ast.SetComp(generators=[one, *_]):
            return value_name(one.iter)
        case ast.DictComp(generators=[one, *_]) | ast.GeneratorExp(generators=[one, *_]):
            return value_name(one.iter)
        case ast.JoinedStr(values=parts):
            return next(filter(None, map(value_name, parts)), "")
        case ast.FormattedValue(value=value) | ast.IfExp(body=value):
            return value_name(value)
        case ast.Dict(values=[first, *_]):
            return value_name(first)
    return ""


def test_name(node: ast.expr) -> str:
    """A name for the outcome of a test, such as ``has_gaps`` or ``size_above_limit``."""
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            is_call = isinstance(operand, ast.Call)
            return f"not_{test_name(operand)}" if is_call else f"no_{value_name(operand)}"
        case ast.Compare(left=left, ops=[op, *_], comparators=[right, *_]) if value_name(left):
            other = _word(right.value) if isinstance(right, ast.Constant) else value_name(right)
            words = (value_name(left), _ABOUT[type(op)], other)
            return "_".join(filter(None, words))
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if hasattr(builtins, name):
            return f"{name}_{value_name(first)}".strip("_")
        case ast.Call(func=ast.Name(id=name)):
            return name
        case ast.Call(func=ast.Attribute(value=value, attr=name)):
            return f"{value_name(value)}_{name}".strip("_")
        case ast.BoolOp(op=op, values=values):
            joint = "_and_" if isinstance(op, ast.And) else "_or_"
            return joint.join(filter(None, map(test_name, values[:2])))
    name = value_name(node)
    return f"has_{name}" if name else ""


def _word(value: object) -> str:
    """A constant as a part of a name; empty if it is long."""
    found = re.sub(r"\W+", "_", str(value).lower(), flags=re.ASCII).strip("_")
    return found if len(found) <= 20 else ""
