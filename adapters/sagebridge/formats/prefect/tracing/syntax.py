"""Facts about the statements of a flow, and copies of its variables."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import (
    UnsupportedValue,
    definition_value,
    is_symbol,
    leaves,
)
from sagebridge.formats.prefect.source.names import loaded_names

MOST_ROUNDS = 200
"""The most rounds of a loop over a known list that become separate steps."""
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def controls(node: ast.AST) -> bool:
    """Whether a statement returns, raises or controls a loop, itself or in a branch."""
    return has(
        node, (ast.Return, ast.Raise, ast.Assert, ast.Yield, ast.YieldFrom)
    ) or leaves_function(node)


def has(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> bool:
    if isinstance(node, kinds):
        return True
    if isinstance(node, _NESTED):
        return False
    return any(has(child, kinds) for child in ast.iter_child_nodes(node))


def leaves_function(node: ast.AST) -> bool:
    """Whether a statement ends the function or a loop around it."""
    if isinstance(node, ast.Return | ast.Raise | ast.Break | ast.Continue | ast.Assert):
        return True
    if isinstance(node, _NESTED):
        return False
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, _LOOPS):
        return any(has(one, (ast.Return,)) for one in children)
    return any(map(leaves_function, children))


def target_name(node: ast.Assign | ast.AnnAssign) -> str:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return next((one.id for one in targets if isinstance(one, ast.Name)), "")


def verb(node: ast.stmt) -> str:
    """A name for a step of a statement without a result."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name | ast.Attribute):
            return one.func.id if isinstance(one.func, ast.Name) else one.func.attr
    return "code"


def is_submit(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="submit" | "map" | "gather")):
            return True
    return False


def used(nodes: Sequence[ast.AST], frame: Frame) -> list[Any]:
    """The values of the variables that code reads."""
    names = dict.fromkeys(name for node in nodes for name in loaded_names(node))
    return [frame.scope[name] for name in names if name in frame.own]


def saved(frame: Frame) -> dict[str, Any]:
    """The variables of a function, and copies of their lists, dicts and sets."""
    known: dict[int, Any] = {}
    return {name: copied(frame.scope[name], known) for name in frame.own if name in frame.scope}


def restore(frame: Frame, names: dict[str, Any]) -> None:
    for name in list(frame.own):
        if name not in names:
            del frame.own[name]
            frame.scope.pop(name, None)
    known: dict[int, Any] = {}
    for name, value in names.items():
        frame.set(name, copied(value, known))


def copied(value: Any, known: dict[int, Any]) -> Any:
    if type(value) not in (list, dict, set):
        return value
    if id(value) in known:
        return known[id(value)]
    made = known[id(value)] = type(value)()
    if type(value) is list:
        made.extend(copied(one, known) for one in value)
    elif type(value) is dict:
        made.update((key, copied(one, known)) for key, one in value.items())
    else:
        made.update(value)
    return made


def same(first: Any, second: Any) -> bool:
    if any(
        is_symbol(one) and callable(one._expression) for one in (*leaves(first), *leaves(second))
    ):
        return False  # it would be made
    try:
        return bool(definition_value(first) == definition_value(second))
    except (UnsupportedValue, TypeError):
        return False


def pushed(test: ast.expr) -> ast.expr:
    """``not (a or b)`` as ``not a and not b``."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(op=op, values=values)):
            other = ast.And() if isinstance(op, ast.Or) else ast.Or()
            opposite: list[ast.expr] = [ast.UnaryOp(ast.Not(), one) for one in values]
            return ast.fix_missing_locations(ast.copy_location(ast.BoolOp(other, opposite), test))
    return test


def case_test(pattern: ast.pattern, subject: ast.expr) -> ast.expr | None:
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
