"""Functions for code of a flow that becomes a step."""

from __future__ import annotations

import ast
import builtins
import copy
import logging
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from sagebridge.formats.prefect.recording.symbols import (
    NotFollowed,
    UnsupportedValue,
    definition_value,
    for_code,
    holds_future,
    is_symbol,
    type_of,
)
from sagebridge.formats.prefect.source.names import loaded_names, stored_names
from sagebridge.formats.prefect.source.purity import UNKNOWN, resolved
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.python.statement_text import built_text
from sagebridge.model.display import free_name
from sagebridge.model.functions import Function
from sagebridge.model.values import Value

_WRITTEN = (PurePath, date, time, timedelta, timezone, Decimal, UUID)
"""Types whose repr is a call of their class."""
_COLLECTIONS = (Counter, OrderedDict, defaultdict, deque)
RUN_LOGGER = "flow"
"""The name of the logger that ``get_run_logger()`` returns while a flow is traced."""


@dataclass(slots=True)
class Frame:
    """A function that is followed.

    Attributes:
        scope: the names of its module, and its own.
        own: the names that it has set.
        statements: imports and functions of its body, which code of a step repeats.
    """

    scope: dict[str, Any]
    definition: ast.FunctionDef | ast.AsyncFunctionDef
    own: dict[str, None] = field(default_factory=dict)
    statements: dict[str, ast.stmt] = field(default_factory=dict)

    def set(self, name: str, value: Any) -> None:
        self.scope[name] = value
        self.own[name] = None

    def saved(self) -> dict[str, Any]:
        """The variables of the function, and copies of their lists, dicts and sets."""
        known: dict[int, Any] = {}
        return {name: _copied(self.scope[name], known) for name in self.own if name in self.scope}

    def restore(self, names: Mapping[str, Any]) -> None:
        """Return to the variables of an earlier moment."""
        for name in self.own.keys() - names.keys():
            del self.own[name]
            self.scope.pop(name, None)
        known: dict[int, Any] = {}
        for name, value in names.items():
            self.set(name, _copied(value, known))

    def used(self, nodes: Sequence[ast.AST]) -> list[Any]:
        """The values of the variables that code reads."""
        names = dict.fromkeys(name for node in nodes for name in loaded_names(node))
        return [self.scope[name] for name in names if name in self.own]

    def inside(self) -> Frame:
        """A frame whose names do not leave it."""
        return Frame(dict(self.scope), self.definition, dict(self.own), self.statements)

    def free(self, wanted: str) -> str:
        """A name that the function does not use."""
        return free_name(wanted, {*self.scope, *vars(builtins)}, wanted)


def _copied(value: Any, known: dict[int, Any]) -> Any:
    if type(value) not in (list, dict, set):
        return value
    if id(value) not in known:
        made = known[id(value)] = type(value)()
        if type(value) is list:
            made.extend(_copied(one, known) for one in value)
        elif type(value) is dict:
            made.update((key, _copied(one, known)) for key, one in value.items())
        else:
            made.update(value)
    return known[id(value)]


@dataclass(slots=True)
class StepCode:
    """A function, the values of its arguments, and what makes it under another name."""

    function: Function
    arguments: list[Value]
    renamed: Callable[[str], Function]


class _Builder:
    """Collects what a function needs of the flow around it: arguments, and statements."""

    def __init__(self, file: UserFile, frame: Frame) -> None:
        self.file, self.frame = file, frame
        self.arguments: dict[str, Value] = {}
        self.before: list[ast.stmt] = []
        self.imports: dict[tuple[str, str], None] = {}
        self.futures = False
        self._known: set[str] = set()

    def need(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.frame.own and name not in self._known:
                self._known.add(name)
                self._need(name, self.frame.scope[name])

    def _need(self, name: str, value: Any) -> None:
        if (statement := self.frame.statements.get(name)) is not None:
            self.need(loaded_names(statement))
            self.before.append(statement)
            return
        if is_symbol(value) and value._code is not None:
            self._assign(name, value._code)
            return
        self.futures = self.futures or holds_future(value)
        try:
            self.arguments[name] = definition_value(for_code(value))
        except UnsupportedValue:
            self._assign(name, self.expression(value, name))

    def _assign(self, name: str, code: ast.expr) -> None:
        self.need(loaded_names(code))
        self.before.append(ast.Assign([ast.Name(name, ast.Store())], code, lineno=1))

    def expression(self, value: Any, name: str = "value") -> ast.expr:
        """The source of a value. Raises :class:`UnsupportedValue`."""
        if is_symbol(value):
            if value._code is not None:
                self.need(loaded_names(value._code))
                code: ast.expr = value._code
                return code
            wanted = free_name(name, {*self.frame.scope, *self.arguments}, name)
            self.arguments[wanted] = definition_value(for_code(value))
            return ast.Name(wanted, ast.Load())
        if value is None or type(value) in (bool, int, float, str, bytes):
            return ast.Constant(value)
        if (known := self.file.global_name(value)) is not None:
            return ast.Name(known, ast.Load())
        if isinstance(value, Enum):
            return ast.Attribute(self.expression(type(value)), value.name, ast.Load())
        if type(value) in (list, tuple, set):
            makes: dict[Any, Any] = {list: ast.List, tuple: ast.Tuple}
            items = [self.expression(one, name) for one in value]
            make = makes.get(type(value))
            found: ast.expr = make(items, ast.Load()) if make else ast.Set(items)
            return found
        if type(value) is dict:
            keys: list[ast.expr | None] = [self.expression(one) for one in value]
            return ast.Dict(keys, [self.expression(one, name) for one in value.values()])
        if isinstance(value, _WRITTEN):
            kind = "Path" if isinstance(value, PurePath) else type(value).__name__
            module = "pathlib" if kind == "Path" else type(value).__module__.split(".")[0]
            self.imports[module, kind] = None
            written = f"Path({str(value)!r})" if kind == "Path" else repr(value)
            return ast.parse(written.replace("datetime.", ""), mode="eval").body
        if type(value) in _COLLECTIONS:
            return self._collection(value, name)
        if isinstance(value, logging.Logger):
            return self._logger(value)
        return self._object(value)

    def _collection(self, value: Any, name: str) -> ast.expr:
        """A dict or list of the module ``collections``."""
        kind = type(value)
        self.imports["collections", kind.__name__] = None
        inner = self.expression(list(value) if kind is deque else dict(value), name)
        given = [inner]
        if kind is defaultdict:
            made = value.default_factory
            is_builtin = getattr(builtins, getattr(made, "__name__", ""), None) is made
            given = [
                ast.Name(made.__name__, ast.Load()) if is_builtin else self.expression(made),
                inner,
            ]
        return ast.Call(ast.Name(kind.__name__, ast.Load()), given, [])

    def _logger(self, value: logging.Logger) -> ast.expr:
        is_of_run = value.name == RUN_LOGGER
        kind = ("prefect", "get_run_logger") if is_of_run else ("logging", "getLogger")
        self.imports[kind] = None
        arguments: list[ast.expr] = [] if is_of_run else [ast.Constant(value.name)]
        return ast.Call(ast.Name(kind[1], ast.Load()), arguments, [])

    def _object(self, value: Any) -> ast.expr:
        if is_dataclass(value) and not isinstance(value, type):
            parts = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        elif hasattr(type(value), "model_fields"):  # a model of pydantic
            parts = {one: getattr(value, one) for one in type(value).model_fields}
        else:
            raise UnsupportedValue(f"a value of type {type(value).__name__}, which is not JSON")
        keywords = [ast.keyword(one, self.expression(part, one)) for one, part in parts.items()]
        return ast.Call(self.expression(type(value)), [], keywords)


def of_value(value: Any, file: UserFile, frame: Frame, name: str) -> StepCode:
    """A function that returns a known value. Raises :class:`UnsupportedValue`."""
    builder = _Builder(file, frame)
    made = ast.Return(builder.expression(value, name))
    return _function(builder, name, [made], "")


def of_statements(
    nodes: Sequence[ast.stmt], results: Sequence[str], file: UserFile, frame: Frame, name: str
) -> StepCode:
    """A function of some statements of a flow; ``results`` are the variables that it returns.

    One variable is returned as it is, several are in a dict. Raises :class:`UnsupportedValue`.
    """
    builder = _Builder(file, frame)
    body = [copy.deepcopy(one) for one in nodes]
    made, read = set[str](), dict[str, None]()
    for one in body:
        read.update((name, None) for name in loaded_names(one) if name not in made)
        if isinstance(one, ast.Assign | ast.AnnAssign):
            made.update(stored_names(one))
    builder.need((*read, *(name for name in results if name in frame.own and name not in made)))
    if builder.futures:
        body = [_WithoutFutures().visit(one) for one in body]
    if len(results) == 1:
        body.append(ast.Return(ast.Name(results[0], ast.Load())))
    elif results:
        keys: list[ast.expr | None] = [ast.Constant(one) for one in results]
        values: list[ast.expr] = [ast.Name(one, ast.Load()) for one in results]
        body.append(ast.Return(ast.Dict(keys, values)))
    return _function(builder, name, body, "")


def of_expression(
    node: ast.expr, file: UserFile, frame: Frame, name: str, returns: str = ""
) -> StepCode:
    """A function that returns the value of an expression. Raises :class:`UnsupportedValue`."""
    builder = _Builder(file, frame)
    builder.need(loaded_names(node))
    body = ast.Return(copy.deepcopy(node))
    if builder.futures:
        body = _WithoutFutures().visit(body)
    return _function(builder, name, [body], returns)


class _WithoutFutures(ast.NodeTransformer):
    """Removes ``.result()`` and ``.wait()``: a step gets the results themselves."""

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if node.attr == "state":
            raise NotFollowed(node.lineno, "the state of a task run", "task-state", whole=True)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if any(one.arg == "raise_on_failure" for one in node.keywords):
            raise NotFollowed(node.lineno, "the state of a task run", "task-state", whole=True)
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="result" | "wait")):
                return value
        return node


def _function(builder: _Builder, name: str, body: list[ast.stmt], returns: str) -> StepCode:
    imports = [
        ast.ImportFrom(module, [ast.alias(one)], 0)
        for module, one in builder.imports
        if builder.file.names.get(one) is not getattr(sys.modules[module], one)
    ]
    whole = [*imports, *builder.before, *body]
    arguments = ast.arguments(
        [], [ast.arg(one) for one in builder.arguments], None, [], [], None, []
    )
    nodes = [inside for one in whole for inside in own_nodes(one)]
    waits = any(isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith) for one in nodes)
    waits = waits or any(isinstance(one, ast.comprehension) and one.is_async for one in nodes)
    kind: Any = ast.AsyncFunctionDef if waits else ast.FunctionDef
    reached = [one for node in whole for one in loaded_names(node) if one not in builder.arguments]

    def named(name: str) -> Function:
        if name in builder.file.names or name in vars(builtins) or not name.isidentifier():
            name = free_name(f"{name}_code", builder.file.names, f"{name}_code")
        definition = kind(name, arguments, copy.deepcopy(whole) or [ast.Pass()], [], None)
        definition.type_params = []  # Python 3.12
        text = built_text(definition, builder.file.source)
        code = ast.unparse(ast.fix_missing_locations(definition))
        return Function(name, code, text, returns, builder.file.with_module(reached, text))

    return StepCode(named(name), list(builder.arguments.values()), named)


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """A node and the nodes in it, without those of nested functions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
        else:
            yield from own_nodes(child)


def result_type(node: ast.expr) -> str:
    """The parameter type of an expression's value, as far as its source shows; empty otherwise."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "Boolean"
        case ast.JoinedStr() | ast.Constant(value=str()):
            return "String"
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return _RESULTS.get(name, "")
    return ""


_RESULTS: Mapping[str, str] = {
    **dict.fromkeys(("float",), "Float"),
    **dict.fromkeys(("int", "len"), "Integer"),
    **dict.fromkeys(
        ("dumps", "format", "isoformat", "join", "lower", "repr", "str", "strftime", "upper"),
        "String",
    ),
    **dict.fromkeys(("bool", "endswith", "isinstance", "startswith"), "Boolean"),
}


_CLIENTS = frozenset(("boto3", "botocore", "httpx", "requests", "sqlalchemy", "psycopg2", "redis"))
"""Packages whose objects cannot be the result of a step."""
OF_BLOCK = "of a block"
"""The type of a value of a block, which is not stored as the result of a step."""


def handle_type(node: ast.expr, frame: Frame) -> str | None:
    """The type of a value that cannot pass from step to step, such as a client; None for others."""
    secret = any(type_of(frame.scope.get(name)) == OF_BLOCK for name in loaded_names(node))
    for one in ast.walk(node):
        function = resolved(one.func, frame.scope) if isinstance(one, ast.Call) else UNKNOWN
        owner = getattr(function, "__self__", None)
        if isinstance(owner, type) and hasattr(owner, "load") and hasattr(owner, "model_fields"):
            secret = True
    if secret:
        return OF_BLOCK
    if isinstance(node, ast.Call):
        function = resolved(node.func, frame.scope)
        module = getattr(function, "__module__", None) or ""
        if function is not UNKNOWN and module.partition(".")[0] in _CLIENTS:
            return ""
    return None
