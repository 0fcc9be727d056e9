"""The names that code reads, sets and changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sagebridge.formats.prefect.source.user_file import FunctionNode


def loaded_names(node: ast.AST) -> list[str]:
    """The names that code reads from outside of its lambdas and comprehensions."""
    return list(dict.fromkeys(one.id for one in reads(node) if isinstance(one, ast.Name)))


def reads(node: ast.AST) -> Iterator[ast.Name | ast.Attribute]:
    """The names and paths that code reads from outside of its lambdas and comprehensions."""
    own: set[str] = set()
    match node:
        case ast.Name(ctx=ast.Load() | ast.Del()):
            yield node
            return
        case ast.Attribute(ctx=ast.Load()):
            yield node
        case ast.AugAssign(target=ast.Name() as target):
            yield target
        case ast.Lambda(args=given):
            own = {one.arg for one in ast.walk(given) if isinstance(one, ast.arg)}
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            targets = [one for made in node.generators for one in ast.walk(made.target)]
            own = {one.id for one in targets if isinstance(one, ast.Name)}
    for child in ast.iter_child_nodes(node):
        yield from (one for one in reads(child) if _root_name(one) not in own)


def _root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def stored_names(node: ast.AST) -> list[str]:
    """The names that a statement sets in its scope."""
    return list(dict.fromkeys(_stored(node)))


def _stored(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for one in ast.walk(node):
                if isinstance(one, ast.NamedExpr):
                    yield one.target.id
            return
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for alias in names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
            yield name
        case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _stored(child)


_CHANGES = frozenset(
    (
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
        *("remove", "reverse", "setdefault", "sort", "update", "__setitem__"),
    )
)


def changed_names(node: ast.AST) -> list[str]:
    """The names whose values code changes in place."""
    found: dict[str, None] = {}
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _CHANGES:
                root: ast.expr = value
            case (
                ast.Subscript(value=value, ctx=ast.Store() | ast.Del())
                | ast.Attribute(value=value, ctx=ast.Store() | ast.Del())
            ):
                root = value
            case _:
                continue
        while isinstance(root, ast.Subscript | ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            found[root.id] = None
    return list(found)


def stored_names_of(node: FunctionNode) -> list[str]:
    """The arguments and variables of a function."""
    given = node.args
    arguments = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    stored = [name for one in node.body for name in stored_names(one)]
    return [*(one.arg for one in arguments if one is not None), *stored]
