"""The lines of the arguments of a DAG or flow in its file, for the places of losses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_NESTED = ("default_args", "params")
"""Arguments whose items can be reported too."""


@dataclass(frozen=True, slots=True)
class ArgumentLines:
    """The line of a call, such as ``DAG(…)`` or a decorator, and of its arguments by name."""

    line: int
    arguments: Mapping[str, int] = field(default_factory=dict)

    def of_text(self, code: str, what: str) -> int:
        """The line for a loss: that of the first argument that its text names."""
        named = [one for one in re.findall(r"\w+", what) if one in self.arguments]
        if code == "engine-option" and len(named) > 1:  # one loss of several arguments
            return self.line
        if not named and code == "schedule":
            named = ["schedule"]
        return self.arguments.get(named[0], self.line) if named else self.line


def dag_lines(source: str, line: int) -> ArgumentLines:
    """Where the DAG that is created at a line has its arguments."""
    tree = ast.parse(source)
    call = _creating_call(tree, line)
    return ArgumentLines(line) if call is None else _lines_of(call, tree)


def decorator_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ArgumentLines:
    """Where the first decorator of a function has its arguments."""
    first = function.decorator_list[0] if function.decorator_list else function
    if isinstance(first, ast.Call):
        return call_lines(first)
    return ArgumentLines(first.lineno)


def call_lines(call: ast.Call) -> ArgumentLines:
    """Where a call has its arguments."""
    return _lines_of(call, ast.Module([], []))


def _lines_of(call: ast.Call, tree: ast.Module) -> ArgumentLines:
    found: dict[str, int] = {}
    for keyword in call.keywords:
        if keyword.arg in _NESTED:
            items = dict(_items(keyword.value, tree))
            found |= {name: items[name] for name in items if name not in found}
        if keyword.arg is not None:
            found[keyword.arg] = keyword.lineno
    return ArgumentLines(call.lineno, found)


def _creating_call(tree: ast.Module, line: int) -> ast.Call | None:
    """The call of ``DAG``, or of the decorator of the function that is called."""
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and one.lineno == line]
    functions = {one.func.id: one for one in calls if isinstance(one.func, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call):
                    return decorator
    return calls[0] if calls else None


def _items(node: ast.expr, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The keys of a dict and their lines; a name stands for the dict that it was assigned."""
    match node:
        case ast.Name(id=name):
            for one in ast.walk(tree):
                match one:
                    case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                        yield from _items(value, tree)
        case ast.Call(keywords=keywords):
            yield from ((one.arg, one.lineno) for one in keywords if one.arg is not None)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if key is None:
                    yield from _items(value, tree)
                elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, key.lineno
