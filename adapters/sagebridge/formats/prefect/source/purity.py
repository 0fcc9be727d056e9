"""Which calls of a flow only have a result, so that reading it can make them."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from sagebridge.formats.prefect.recording.symbols import RunTimeValueUsed, holds_symbol, is_symbol
from sagebridge.formats.prefect.source.names import loaded_names, stored_names_of
from sagebridge.formats.prefect.source.user_file import UserFile

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
LOG_METHODS = frozenset(
    ("critical", "debug", "error", "exception", "fatal", "info", "log", "warn", "warning")
)
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


def _tests_identity(node: ast.Compare, scope: Mapping[str, Any]) -> bool:
    """Whether ``is`` tests a run-time value: Python would answer for the object in its place."""
    operands = (node.left, *node.comparators)
    return any(isinstance(one, ast.Is | ast.IsNot) for one in node.ops) and any(
        is_symbol(resolved(one, scope)) for one in operands
    )


def _logs(node: ast.Call, function: Any) -> bool:
    """Whether a call may log its arguments: nothing formats them while the flow is read."""
    known = function is not UNKNOWN and getattr(function, "__module__", "") != "logging"
    return isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS and not known


class Purity:
    """Whether code has the same result whenever it runs, and no effects."""

    def __init__(self, file: UserFile) -> None:
        self.file = file
        self._functions: dict[Any, bool] = {}

    def of(self, node: ast.AST, scope: Mapping[str, Any], *, in_function: bool = False) -> bool:
        """Whether code can be executed while the flow is read; ``in_function``: it is called."""
        import os

        unknown = any(holds_symbol(scope.get(name)) for name in loaded_names(node))
        if unknown and self._looks(node, scope):
            return False
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and not self._call(one, scope):
                return False
            if isinstance(one, ast.Attribute | ast.Name) and resolved(one, scope) is os.environ:
                return False
            if isinstance(one, ast.Yield | ast.YieldFrom | ast.Await) and not in_function:
                return False
            if isinstance(one, ast.Compare) and _tests_identity(one, scope):
                return False
        return True

    def _looks(self, node: ast.AST, scope: Mapping[str, Any], depth: int = 3) -> bool:
        """Whether code may see that a run-time value is not the value itself."""
        for one in ast.walk(node):
            if isinstance(one, ast.Is | ast.IsNot):
                return True
            if isinstance(one, ast.Call):
                function = resolved(one.func, scope)
                if function in (type, id, callable) or _logs(one, function):
                    return True
                body = self.file.definition(function) if depth else None
                if body is not None and self._looks(body, vars(self.file.module), depth - 1):
                    return True
        return False

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
            self._functions[function] = all(
                self.of(one, scope, in_function=True) for one in node.body
            )
        return self._functions[function]
