"""The traced file: its source, its functions, and which of its calls only have a result."""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from sagebridge.formats.prefect.tracing.symbols import (
    RunTimeValueUsed,
    UnsupportedValue,
    is_symbol,
)
from sagebridge.formats.python.module_slice import NotSelfContained, module_of

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(slots=True)
class UserFile:
    """A file and its module.

    Attributes:
        names: the names of the module.
        definitions: its functions, by their first line and their name.
    """

    path: str
    source: str
    tree: ast.Module
    module: ModuleType
    definitions: dict[tuple[int, str], FunctionNode] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, source: bytes, module: ModuleType) -> UserFile:
        tree = ast.parse(source, path)
        found = {
            (_first_line(node), node.name): node
            for node in ast.walk(tree)
            if isinstance(node, FunctionNode)
        }
        return cls(path, source.decode(), tree, module, found)

    @property
    def flags(self) -> int:
        """The flags of its ``from __future__`` imports, for the compiler."""
        found: set[int] = {
            int(getattr(__future__, alias.name).compiler_flag)
            for one in self.tree.body
            if isinstance(one, ast.ImportFrom) and one.module == "__future__"
            for alias in one.names
        }
        return int(sum(found))

    def compiled(self, node: ast.AST, mode: str = "exec") -> CodeType:
        """The code of a node of the file."""
        whole: Any = node if mode == "eval" else ast.Module([node], [])  # type: ignore[list-item]
        if mode == "eval":
            whole = ast.Expression(node)  # type: ignore[arg-type]
        ast.fix_missing_locations(whole)
        code: CodeType = compile(whole, self.path, mode, self.flags, dont_inherit=True)
        return code

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def names(self) -> Mapping[str, Any]:
        return vars(self.module)

    def definition(self, function: Any) -> FunctionNode | None:
        """The ``def`` statement of a function of this file."""
        code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
        if code is None or code.co_filename != self.path:
            return None
        return self.definitions.get((code.co_firstlineno, code.co_name))

    def argument_line(self, function: Any, name: str) -> int:
        """The line of an argument of a function."""
        node = self.definition(function)
        assert node is not None
        given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        return next((one.lineno for one in given if one.arg == name), node.lineno)

    def line(self) -> int:
        """The innermost line of the file on the stack; 1 by default."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename != self.path:
            if frame.f_back is None:
                return 1
            frame = frame.f_back
        return frame.f_lineno

    def global_name(self, value: Any) -> str | None:
        """The name of the module that has this object as its value."""
        for name, found in self.names.items():
            if found is value and not name.startswith("__"):
                return name
        return None

    def with_module(self, names: Iterable[str], code: str) -> str:
        """The code after the part of the module that it reaches; empty if it reaches nothing."""
        known = [one for one in dict.fromkeys(names) if one in self.names]
        if not known:
            return ""
        try:
            return module_of(self.source).named(known, self.names).text(code)
        except NotSelfContained as why:
            raise UnsupportedValue(f"code that {why}") from None


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(one.lineno for one in node.decorator_list)]
    return min(lines)


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


_VARYING = frozenset(
    (
        *("datetime.now", "datetime.today", "datetime.utcnow", "date.today", "uuid.uuid1"),
        *("uuid.uuid4", "os.getenv"),
    )
)
_PURE_MODULES = frozenset(
    (
        *("base64", "builtins", "calendar", "collections", "contextlib", "copy", "dataclasses"),
        *("datetime", "decimal", "enum", "fractions", "functools", "hashlib", "itertools", "json"),
        *("logging", "math", "operator", "ntpath", "pathlib", "posixpath", "re", "statistics"),
        *("string", "textwrap", "typing", "uuid", "zoneinfo", "_operator", "_json", "_functools"),
        *("sagebridge", "sagebridge_operators"),
    )
)
_IMPURE_BUILTINS = frozenset(("__import__", "compile", "eval", "exec", "input", "open", "print"))
_IMPURE_METHODS = frozenset(
    (
        *("absolute", "chmod", "cwd", "exists", "expanduser", "glob", "home", "is_dir", "is_file"),
        *("iterdir", "lstat", "mkdir", "open", "read_bytes", "read_text", "rename", "resolve"),
        *("rglob", "rmdir", "stat", "touch", "unlink", "write_bytes", "write_text"),
    )
)
_PREFECT_VALUES = frozenset(
    (
        *("allow_failure", "Cancelled", "Completed", "Crashed", "Failed", "quote", "unmapped"),
        *("with_options", "flow", "task"),
    )
)
"""Functions of Prefect that only make a value."""
UNKNOWN = object()
_MADE = (str, bytes, int, float, bool, list, tuple, dict, set, frozenset)


def resolved(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """The object that a name or path means; UNKNOWN if only its evaluation can show it."""
    if isinstance(node, ast.Name):
        return scope.get(node.id, getattr(builtins, node.id, UNKNOWN))
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, scope)
        kind = type(owner)
        if is_symbol(owner):
            return UNKNOWN
        if isinstance(owner, ModuleType | type) or kind in _MADE or hasattr(kind, "with_options"):
            try:
                return getattr(owner, node.attr, UNKNOWN)
            except (RunTimeValueUsed, Exception):  # noqa: BLE001 - a module may compute it
                return UNKNOWN
        if owner is not UNKNOWN and kind.__module__.partition(".")[0] == "sagebridge":
            return getattr(kind, node.attr, UNKNOWN)
    return UNKNOWN


class Purity:
    """Whether code has the same result whenever it runs, and no effects."""

    def __init__(self, file: UserFile) -> None:
        self.file = file
        self._functions: dict[Any, bool] = {}

    def of(self, node: ast.AST, scope: Mapping[str, Any]) -> bool:
        import os

        for one in ast.walk(node):
            if isinstance(one, ast.Call) and not self._call(one, scope):
                return False
            if isinstance(one, ast.Attribute | ast.Name) and resolved(one, scope) is os.environ:
                return False
            if isinstance(one, ast.Await | ast.Yield | ast.YieldFrom):
                return False
        return True

    def _call(self, node: ast.Call, scope: Mapping[str, Any]) -> bool:
        function = resolved(node.func, scope)
        if function is UNKNOWN:
            return not (isinstance(node.func, ast.Attribute) and node.func.attr in _IMPURE_METHODS)
        return self.function(function)

    def function(self, function: Any) -> bool:
        function = inspect.unwrap(getattr(function, "__func__", function))
        name = getattr(function, "__qualname__", getattr(function, "__name__", ""))
        module = getattr(function, "__module__", None) or "builtins"
        root, last = module.partition(".")[0], name.rpartition(".")[2]
        if isinstance(getattr(function, "__self__", None), type):
            name, module = f"{function.__self__.__name__}.{last}", function.__self__.__module__
            root = module.partition(".")[0]
        if last in _IMPURE_METHODS or (root == "builtins" and last in _IMPURE_BUILTINS):
            return False
        if module.startswith("sagebridge.formats.python"):
            return False  # import_inputs.py replaces functions whose results vary
        if f"{module}.{last}" in _VARYING or name in _VARYING:
            return False
        if root in _PURE_MODULES or module == "urllib.parse":
            return True
        if root == "prefect":
            return last in _PREFECT_VALUES
        if module == self.file.module.__name__:
            return isinstance(function, type) or self._own(function)
        return isinstance(function, BuiltinFunctionType | MethodType) and root in _PURE_MODULES

    def _own(self, function: Any) -> bool:
        """A function of the file; one that calls itself is judged by its other calls."""
        node = self.file.definition(function)
        if node is None or not isinstance(function, FunctionType):
            return False
        if function not in self._functions:
            self._functions[function] = True
            scope = {**function.__globals__, **dict.fromkeys(stored_names_of(node), UNKNOWN)}
            self._functions[function] = all(self.of(one, scope) for one in node.body)
        return self._functions[function]


def stored_names_of(node: FunctionNode) -> list[str]:
    """The arguments and variables of a function."""
    given = node.args
    arguments = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    stored = [name for one in node.body for name in stored_names(one)]
    return [*(one.arg for one in arguments if one is not None), *stored]
