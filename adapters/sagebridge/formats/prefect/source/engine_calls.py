"""What calls tasks and steps, as far as the names of code show."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

from sagebridge.formats.prefect.recording.symbols import is_symbol, leaves
from sagebridge.formats.prefect.source.names import reads
from sagebridge.formats.prefect.source.purity import UNKNOWN, resolved
from sagebridge.formats.prefect.source.user_file import UserFile


class EngineCalls:
    """Finds calls of tasks, flows and steps in the code of a file."""

    def __init__(self, file: UserFile) -> None:
        self.file = file
        self._functions: dict[Any, bool] = {}

    def calls(self, node: ast.AST, scope: Mapping[str, Any]) -> bool:
        """Whether code calls tasks or steps, as far as its names show."""
        return any(True for _ in self.nodes(node, scope))

    def names(self, nodes: Iterable[ast.AST], scope: Mapping[str, Any]) -> list[str]:
        return [
            one.id if isinstance(one, ast.Name) else one.attr
            for node in nodes
            for one in self.nodes(node, scope)
        ]

    def tasks(self, nodes: Iterable[ast.AST], scope: Mapping[str, Any]) -> list[Any]:
        """The tasks and flows that code names, also for their methods such as ``submit``.

        With those that these, and functions of the file, call.
        """
        found: dict[int, Any] = {}
        self._add_tasks(nodes, scope, found)
        return [one for one in found.values() if hasattr(type(one), "with_options")]

    def _add_tasks(
        self, nodes: Iterable[ast.AST], scope: Mapping[str, Any], found: dict[int, Any]
    ) -> None:
        for name in (one for node in nodes for one in self.nodes(node, scope)):
            value = resolved(name, scope)
            value = getattr(value, "__self__", value)
            if id(value) in found:
                continue
            found[id(value)] = value
            function = inspect.unwrap(getattr(value, "fn", value))
            if (definition := self.file.definition(function)) is not None:
                self._add_tasks(definition.body, _scope(function), found)

    def nodes(self, node: ast.AST, scope: Mapping[str, Any]) -> Iterator[ast.Name | ast.Attribute]:
        return (one for one in reads(node) if self.is_engine(resolved(one, scope)))

    def is_engine(self, value: Any, depth: int = 2) -> bool:
        if value is UNKNOWN or is_symbol(value):
            return False
        owner = getattr(value, "__self__", None)
        value = getattr(value, "__func__", value)
        if any(hasattr(type(one), "with_options") for one in (value, owner)):
            return True  # a Task or Flow
        if isinstance(value, FunctionType):
            if is_own(value.__module__):
                return not value.__module__.startswith("sagebridge.formats")
            return self._engine_function(value)
        if depth and type(value) in (list, tuple, dict, set):
            return any(self.is_engine(one, depth - 1) for one in leaves(value, 2))
        return False

    def _engine_function(self, function: FunctionType) -> bool:
        if function not in self._functions:
            self._functions[function] = False
            module = sys.modules.get(function.__module__)
            package = getattr(module, "__file__", None) or ""
            scope = _scope(function)
            node = self.file.definition(function)
            if node is not None:
                found = any(self.calls(one, scope) for one in node.body)
            else:
                names = () if "site-packages" in package else function.__code__.co_names
                found = any(self.is_engine(scope.get(name, UNKNOWN)) for name in names)
            self._functions[function] = found
        return self._functions[function]


def _scope(function: Any) -> dict[str, Any]:
    """The names that the code of a function can read."""
    return {**function.__globals__, **inspect.getclosurevars(function).nonlocals}


def is_own(module: str) -> bool:
    """Whether it is a module of sagebridge; the traced file is "sagebridge_source_NAME"."""
    return module.partition(".")[0] in ("sagebridge", "sagebridge_operators")
