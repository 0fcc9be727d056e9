"""Expressions on import whose values depend on the machine or the moment, as steps.

``sys.executable``, ``Path(__file__).parent`` or ``datetime.now()`` in the arguments of a task get
their values when the file is imported. A step that evaluates the same expression when a run starts
takes their place, so that no value of the machine that translates gets into a written file.
"""

from __future__ import annotations

import ast
import builtins
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, time
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from sagebridge.formats.python import import_inputs
from sagebridge.formats.python.import_inputs import ImportInput
from sagebridge.formats.python.module_slice import Module, NotSelfContained, module_of
from sagebridge.model.display import free_name
from sagebridge.model.functions import Function

_OTHER = "zq7"
_FILE = "the folder of the file"
_PYTHON = "the path of Python"
_SYSTEM = ("/", "/usr", "/usr/local")
_EFFECTS = frozenset(("compile", "eval", "exec", "input", "open", "print", "__import__"))
_LIMIT = 200
"""The most expressions that are evaluated in one file."""
_TYPES: Mapping[type, str] = {str: "String", int: "Integer", float: "Float", bool: "Boolean"}


@dataclass(frozen=True, slots=True)
class StartValue:
    """An expression of the file that reads an input.

    Attributes:
        name: of its step.
        line: its line.
        code: the expression of the result, which is a JSON value.
        value: its result in this reading.
        function: the function of its step, as JSON.
    """

    name: str
    line: int
    code: str
    value: Any
    function: dict[str, str]


def path_inputs(file: Path, answer: str) -> dict[str, ImportInput]:
    """The paths of this machine in an answer that the file does not contain, as inputs."""
    source = file.read_text(encoding="utf-8", errors="replace")
    return {
        what: ImportInput(what, min(path_lines(source)[what], default=1), name, is_default=False)
        for what, name in ((_FILE, "file_folder"), (_PYTHON, "executable"))
        for path in _paths(what, file)
        if _as_json(path) in answer and path not in source
    }


def path_lines(source: str) -> dict[str, set[int]]:
    """The lines that may read a path of this machine, for each kind."""
    names = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Name)]
    return {
        _FILE: {one.lineno for one in names if one.id == "__file__"},
        _PYTHON: {one.lineno for one in names if one.id in ("sys", "executable")},
    }


def with_other_paths(answer: str, file: Path, varied: Collection[str]) -> str:
    """The answer that the file would give in another folder, or with another Python."""
    for what in (_FILE, _PYTHON):
        if what in varied:
            for path in _paths(what, file):
                answer = answer.replace(_as_json(path), _as_json(path) + _OTHER)
    return answer


def _paths(what: str, file: Path) -> list[str]:
    if what == _FILE:
        return [] if str(file.parent) in _SYSTEM else [str(file.parent)]
    return [sys.executable if sys.prefix in _SYSTEM else sys.prefix]


def _as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def start_values(
    file: Path, names: dict[str, Any], inputs: Mapping[str, ImportInput]
) -> list[StartValue]:
    """The expressions of a file that read inputs and have JSON values, the simplest first.

    ``names`` are those of the module, as it is after the import.
    """
    lines = set(import_inputs.input_lines())
    if not lines and inputs.keys().isdisjoint((_FILE, _PYTHON)):
        return []
    module = module_of(file.read_text(encoding="utf-8", errors="replace"))
    for what, found_in in path_lines(module.source).items():
        lines |= found_in if what in inputs else set()
    nodes = {
        node: ast.get_source_segment(module.source, node) or ""
        for node in ast.walk(module.tree)
        if isinstance(node, ast.expr)
        and not isinstance(node, ast.Constant | ast.Starred)
        and any(node.lineno <= line <= (node.end_lineno or 0) for line in lines)
        and module.engine.union(_EFFECTS).isdisjoint(_names(node))
    }
    parents = {child: one for one in ast.walk(module.tree) for child in ast.iter_child_nodes(one)}
    found: list[StartValue] = []
    every = (one for one in ast.walk(module.tree) if isinstance(one, ast.Name))
    variables = {one.id for one in every if isinstance(one.ctx, ast.Store)}

    def order(node: ast.expr) -> tuple[bool, int]:
        # The expression that a variable is assigned comes before those that read the variable.
        return not variables.isdisjoint(_names(node)), len(nodes[node])

    for node in sorted(nodes, key=order)[:_LIMIT]:
        for code, value in _results(node, nodes[node], str(file), names):
            name = _name(node, parents.get(node))
            with suppress(NotSelfContained, SyntaxError):
                function = _function(name, code, value, module, names)
                found.append(StartValue(name, node.lineno, code, value, asdict(function)))
    return found


def _results(
    node: ast.expr, text: str, file: str, names: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The JSON values that an expression gives, each with the expression that gives it."""
    whole = ast.fix_missing_locations(ast.Expression(node))
    try:
        with import_inputs.replayed(node.lineno):
            value = eval(compile(whole, file, "eval"), names)  # noqa: S307 - the user's own file
    except Exception:  # noqa: BLE001 - it needs names of a function, or is not for reading
        return
    if type(value) in _TYPES:
        yield text, value
    elif isinstance(value, date | time):
        yield f"({text}).isoformat()", value.isoformat()
        yield f"str({text})", str(value)
    elif isinstance(value, PurePath | UUID):
        yield f"str({text})", str(value)


def _name(node: ast.expr, parent: ast.AST | None) -> str:
    """A name for the value: that of its variable, argument or function."""
    match parent:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.lower()
        case ast.keyword(arg=str(name)):
            return name
    match node:
        case ast.Call(func=ast.Name(id="str"), args=[value]):
            return _name(value, None)
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case ast.Attribute(attr="parent"):
            return "folder"
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return "start_value"


def _function(name: str, code: str, value: Any, module: Module, names: Collection[str]) -> Function:
    name = free_name(name, {*names, *vars(builtins)}, name)
    text = ast.unparse(ast.parse(f"def {name}():\n    return ({code})"))
    needed = [one for one in _names(ast.parse(code, mode="eval")) if one in names]
    part = module.named(needed, {}).text(text) if needed else ""
    return Function(name, text, text, _TYPES[type(value)], part)


def _names(node: ast.AST) -> list[str]:
    return sorted({one.id for one in ast.walk(node) if isinstance(one, ast.Name)})
