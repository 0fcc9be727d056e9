"""The traced file: its source, its functions, and which of its calls only have a result."""

from __future__ import annotations
import __future__

import ast
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

from sagebridge.formats.prefect.recording.symbols import (
    UnsupportedValue,
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
        return next((one.lineno for one in _arguments(node) if one.arg == name), node.lineno)

    def annotation(self, function: Any, name: str) -> str:
        """The source of an argument's type."""
        node = self.definition(function)
        assert node is not None
        found = next(one.annotation for one in _arguments(node) if one.arg == name)
        match found:
            case ast.Constant(value=str() as text):
                return text
            case ast.expr():
                return ast.unparse(found)
        return "object"

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


def _arguments(node: FunctionNode) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(one.lineno for one in node.decorator_list)]
    return min(lines)
