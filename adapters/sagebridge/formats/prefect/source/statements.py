"""Facts about the statements of a flow."""

from __future__ import annotations

import ast
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
