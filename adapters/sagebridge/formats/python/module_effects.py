"""Statements of a module that act on the whole process, such as ``os.environ["X"] = "y"``.

A file that carries code has them too, if they only need what it can have; others are losses.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sagebridge.model.display import word_set

if TYPE_CHECKING:
    from sagebridge.formats.python.module_slice import Statement

Definition = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = ast.With | ast.AsyncWith | ast.For | ast.AsyncFor | ast.While | ast.If | ast.Try
_PROCESS = ("logging", "os", "sys")
"""Modules whose objects a process shares: a logger in a variable is still the process's logger."""
_LOG_METHODS = word_set("debug info warning warn error exception critical log")
_REGISTERS = "register_lambda"
_NAMESPACES = word_set("globals locals vars")
"""With these, libraries add DAGs to a module."""


def root_of(node: ast.AST) -> str:
    """The name at the start of an expression such as ``a.b["c"](d)``."""
    while not isinstance(node, ast.Name):
        match node:
            case ast.Call(func=inner) | ast.Attribute(value=inner) | ast.Subscript(value=inner):
                node = inner
            case _:
                return ""
    return node.id


def changed_roots(node: ast.stmt, *, calls: bool = True) -> Iterator[str]:
    """The names whose values a statement changes or calls, those in its blocks included."""
    targets: Sequence[ast.expr] = ()
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            pass
        case ast.AugAssign(target=target):
            targets = [target]
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))) if name in _LOG_METHODS:
            pass
        case ast.Expr(value=ast.Call(func=function)) if calls:
            yield root_of(function)
    yield from (root_of(it) for it in targets if isinstance(it, ast.Subscript | ast.Attribute))
    if isinstance(node, BLOCKS):
        handlers = [child for one in getattr(node, "handlers", ()) for child in one.body]
        parts = (getattr(node, name, []) for name in ("body", "orelse", "finalbody"))
        for child in (*(one for part in parts for one in part), *handlers):
            yield from changed_roots(child, calls=calls)


class Effects:
    """The statements of a module that act on the process.

    Args:
        statements: those at the level of the module.
        engine: the names that an engine gives.
        refused: the names that need something which only one engine has.
    """

    def __init__(
        self, statements: Sequence[Statement], engine: Collection[str], refused: Collection[str]
    ) -> None:
        self.statements, self.engine, self.refused = statements, engine, refused
        self.bindings: dict[str, list[Statement]] = {}
        for one in statements:
            for name in one.binds:
                self.bindings.setdefault(name, []).append(one)

    def all(self) -> Iterator[Statement]:
        return (one for one in self.statements if self.is_effect(one))

    def is_effect(self, one: Statement) -> bool:
        """Whether a statement acts on the process, and is not part of the DAG or flow itself."""
        if self.registers(one):
            return True
        roots = set(changed_roots(one.node)) - {""}
        if not roots or one.reads & _NAMESPACES or self._builds(one.reads, set()):
            return False
        return any(self._is_shared(name, top=one.top) for name in roots)

    def registers(self, one: Statement) -> bool:
        """Whether a statement gives a Lambda function its handler on this machine."""
        return any(
            isinstance(node, ast.ImportFrom)
            and _package(node, name) == "sagebridge_operators"
            and any(it.name == _REGISTERS and name == (it.asname or it.name) for it in node.names)
            for name in changed_roots(one.node)
            for node in (it.node for it in self.bindings.get(name, ()))
        )

    def is_plain(self, one: Statement) -> bool:
        """Whether a statement only needs installed modules, and what is made with them."""
        return one.top and self._are_plain(one.reads, set())

    def _builds(self, names: Collection[str], seen: set[str]) -> bool:
        """Whether names lead to a DAG, its tasks or a flow."""
        for name in set(names) - seen:
            seen.add(name)
            if name in self.refused:
                return True
            for one in self.bindings.get(name, ()):
                if isinstance(one.node, Definition) and (
                    name in self.engine or self._builds(one.reads, seen)
                ):
                    return True
        return False

    def _is_shared(self, name: str, *, top: bool) -> bool:
        if name in self.engine:
            return False
        for one in self.bindings.get(name, ()):
            match one.node:
                case ast.Import() | ast.ImportFrom():
                    package = _package(one.node, name)
                    # A call inside `with DAG(...)` may be an operator of another package.
                    inside = top or package in sys.stdlib_module_names
                    return inside and package != "sagebridge_operators"
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    return top
                case ast.Assign(value=value):
                    return any(
                        isinstance(it.node, ast.Import | ast.ImportFrom)
                        and _package(it.node, root_of(value)) in _PROCESS
                        for it in self.bindings.get(root_of(value), ())
                    )
        return False

    def _are_plain(self, names: Collection[str], seen: set[str]) -> bool:
        new = set(names) - seen
        seen |= new
        if new & set(self.engine):
            return False
        for name in new:
            for one in self.bindings.get(name, ()):
                if isinstance(one.node, ast.ImportFrom):
                    if one.node.level or not _is_installed(_package(one.node, name)):
                        return False
                elif not one.top or not self._are_plain(one.reads, seen):
                    return False
        return True


def _package(node: ast.Import | ast.ImportFrom, name: str) -> str:
    """The package that gives a name of an import."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0]
    found = (one.name for one in node.names if name == (one.asname or one.name.partition(".")[0]))
    return next(found, "").partition(".")[0]


def _is_installed(package: str) -> bool:
    """Whether a package is installed; your own modules, which may make DAGs, are not."""
    if package in sys.stdlib_module_names:
        return True
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return False
    return found is not None and "site-packages" in (found.origin or "")
