"""The part of a module that a function reaches, with the text of each statement.

Nothing is executed. The statements are those that bind a name which the function, or another
statement of the part, reads; and those that change such a value. A function inside another one is
moved to the module's level, with what it reads there.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

from sagebridge.formats.python.engine_imports import narrowed, refused_attribute, refused_imports
from sagebridge.formats.python.module_effects import (
    BLOCKS,
    Definition,
    Effects,
    changed_roots,
    root_of,
)
from sagebridge.formats.python.statement_text import (
    LITERALS,
    guarded,
    joined,
    plain_definition,
    split_imports,
    statement_text,
)
from sagebridge.model.display import shown
from sagebridge.model.engine_names import engine_of

_FUTURE = "__future__"
_GUARD = "TYPE_CHECKING"


class NotSelfContained(Exception):
    """A function or command that cannot be carried; the string completes "it ..."."""


@dataclass(frozen=True, eq=False, slots=True)
class Statement:
    """A statement that can be carried by itself; ``guarded``: under ``if TYPE_CHECKING``.

    Attributes:
        node: the statement.
        binds: the names that it sets.
        reads: the names that it reads, also in the bodies of functions.
        annotations: names that it reads only in annotations which Python does not evaluate.
    """

    node: ast.stmt
    binds: frozenset[str]
    reads: frozenset[str]
    annotations: frozenset[str]
    guarded: bool = False
    top: bool = True


@dataclass(eq=False, slots=True)
class Scope:
    """The statements of a module or function; ``unavailable`` are names without a statement."""

    statements: list[Statement] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    outer: Scope | None = None

    def binding(self, name: str) -> list[Statement]:
        return [one for one in self.statements if name in one.binds]


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """A function that is carried: its ``def``, and the statement and text in its place."""

    node: ast.AST
    statement: Statement
    text: str


class Module:
    """The source of a module, whose parts can be carried."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = ast.parse(source)
        self.postponed = any(
            isinstance(one, ast.ImportFrom) and one.module == _FUTURE for one in self.tree.body
        )
        self.engine: set[str] = set()
        """Names that an engine gives, directly or not."""
        self.refused: set[str] = set()
        """Names that need something which only one engine has."""
        self.scope = self._scope(self.tree.body, None)
        self.effects = Effects(self.scope.statements, self.engine, self.refused)

    @cached_property
    def _parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def definition(self, name: str, line: int) -> ast.stmt | None:
        """The ``def`` whose first line, decorators included, is ``line``."""
        for node in ast.walk(self.tree):
            if isinstance(node, Definition) and node.name == name:
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                if line in (first, node.lineno):
                    return node
        return None

    def only_lambda(self, line: int) -> ast.Lambda | None:
        """The lambda of a line, if there is only one."""
        found = [it for it in ast.walk(self.tree) if isinstance(it, ast.Lambda)]
        own = [one for one in found if one.lineno == line]
        return own[0] if len(own) == 1 else None

    def _scope(self, body: list[ast.stmt], outer: Scope | None) -> Scope:
        scope = Scope(outer=outer)
        self._add(body, scope, top=outer is None)
        return scope

    def _add(self, body: list[ast.stmt], scope: Scope, *, top: bool, guarded: bool = False) -> None:
        for node in body:
            if isinstance(node, ast.If) and _is_main(node.test):
                continue
            if isinstance(node, ast.If) and _is_guard(node):
                self._add(node.body, scope, top=top, guarded=True)
                continue
            one = _statement(node, self.postponed, guarded=guarded, top=top)
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._note_import(node)
            if one.reads & self.refused and isinstance(node, BLOCKS):
                # A block of the DAG or flow itself, such as `with DAG(...)`: only its body counts.
                inner = [child for name in ("body", "orelse") for child in getattr(node, name, ())]
                inside = {name for child in inner for name in _statement(child, False).binds}
                for name in one.binds - inside:
                    scope.unavailable[name] = f"uses {shown(name)}, which is part of the {_A}"
                self._add(inner, scope, top=False)
                continue
            if self._is_engine(one):
                self.engine |= one.binds
            if one.reads & self.refused:
                self.refused |= one.binds
            scope.statements.append(one)

    def _is_engine(self, one: Statement) -> bool:
        if isinstance(one.node, Definition):
            return any(root_of(decorator) in self.engine for decorator in one.node.decorator_list)
        return bool(one.reads & self.engine) and not isinstance(one.node, ast.ClassDef)

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            module = alias.name if isinstance(node, ast.Import) else node.module or ""
            if engine_of(module):
                self.engine.add(name)
                if refused_imports(_only(node, alias)):
                    self.refused.add(name)

    def scope_of(self, node: ast.AST) -> Scope:
        """The scope in which a function is defined."""
        around: list[Definition] = []
        parent = self._parents.get(node)
        while parent is not None:
            if isinstance(parent, Definition):
                around.append(parent)
            parent = self._parents.get(parent)
        scope = self.scope
        for function in reversed(around):
            scope = self._scope(function.body, scope)
            for argument in ast.walk(function.args):
                if isinstance(argument, ast.arg):
                    name = argument.arg
                    scope.unavailable[name] = f"uses the argument {shown(name)} of {function.name}"
        return scope

    def without_engine_decorators(self, node: Definition) -> list[ast.expr]:
        """The decorators of a function other than the engine's."""
        return [one for one in node.decorator_list if root_of(one) not in self.engine]

    def reached(self, target: Target, live: Mapping[str, Any]) -> Part:
        """The part that a function reaches, itself included. Raises NotSelfContained."""
        part = Part(self, target, live)
        part.add(target.statement, self.scope_of(target.node))
        part.complete()
        return part

    def named(self, names: Iterable[str], live: Mapping[str, Any]) -> Part:
        """The part that names of the module reach. Raises NotSelfContained."""
        part = Part(self, None, live)
        for name in names:
            part.need(name, self.scope)
        part.complete()
        return part


_A = "DAG or flow"


class Part:
    """A part of a module."""

    def __init__(self, module: Module, target: Target | None, live: Mapping[str, Any]) -> None:
        self.module, self.target, self.live = module, target, live
        self.found: dict[Statement, Scope] = {}
        self.imported: dict[Statement, set[str]] = {}
        self.constants: dict[str, str] = {}
        self.ignored: set[str] = set()
        self.is_alone = False
        """Whether the function needs nothing else of its module; settings do not count."""

    def add(self, one: Statement, scope: Scope) -> None:
        """Add a statement and every name that it reads."""
        if one in self.found:
            return
        self.found[one] = scope
        for node in ast.walk(one.node):
            if isinstance(node, ast.Import | ast.ImportFrom) and not one.guarded:
                self._check(node)
        for name in sorted(one.reads):
            self.need(name, scope)

    def need(self, name: str, scope: Scope | None) -> None:
        """Add the statements that bind a name."""
        while scope is not None:
            if binding := scope.binding(name):
                own = self.target is not None and any(it.node is self.target.node for it in binding)
                for one in binding:
                    if self.target is not None and one.node is self.target.node:
                        self.add(self.target.statement, scope)
                    elif own and one.reads & self.module.refused:
                        continue  # the task of the function, under the function's name
                    elif isinstance(one.node, ast.Import | ast.ImportFrom):
                        self._import(one, name, scope)
                    else:
                        self.add(one, scope)
                return
            if name in scope.unavailable:
                if isinstance(value := self.live.get(name, scope), LITERALS):
                    self.constants[name] = f"{name} = {value!r}"
                    return
                raise NotSelfContained(scope.unavailable[name])
            scope = scope.outer
        if hasattr(builtins, name):
            return
        for one in self.module.scope.statements:  # it may come from a star import
            if isinstance(one.node, ast.ImportFrom) and one.node.names[0].name == "*":
                self.add(one, self.module.scope)

    def _import(self, one: Statement, name: str, scope: Scope) -> None:
        node = one.node
        assert isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names:
            if name == (alias.asname or alias.name.partition(".")[0]) and not one.guarded:
                self._check(_only(node, alias))
        self.found.setdefault(one, scope)
        self.imported.setdefault(one, set()).add(name)
        if one.guarded:
            self.need(_GUARD, self.module.scope)

    @staticmethod
    def _check(node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and node.level:
            raise NotSelfContained("imports from its own package with a relative import")
        if problem := refused_imports(node):
            raise NotSelfContained(problem)

    def complete(self) -> None:
        """Add annotations that can be carried, statements that change values, and settings."""
        for one, scope in list(self.found.items()):
            for name in sorted(one.annotations):
                if not self._try(partial(self.need, name, scope)):
                    self.ignored.add(name)
        self._add_changes()
        self.is_alone = len(self.found) == 1 and not self.constants
        for one in self.module.effects.all():
            if self.module.effects.is_plain(one):
                self._try(partial(self.add, one, self.module.scope))
        self._add_changes()
        for one in list(self.found):
            self._check_attributes(one)

    def _add_changes(self) -> None:
        """Add the statements that change values of the part."""
        changed = True
        while changed:
            before = len(self.found)
            for scope in {id(one): one for one in self.found.values()}.values():
                for one in scope.statements:
                    if one not in self.found and self._belongs(one, scope):
                        self.add(one, scope)
            changed = len(self.found) > before

    def _try(self, add: Callable[[], None]) -> bool:
        """Add something, or leave the part as it is if that cannot be carried."""
        found, imported = dict(self.found), {one: set(it) for one, it in self.imported.items()}
        try:
            add()
        except NotSelfContained:
            self.found, self.imported = found, imported
            return False
        return True

    @property
    def names(self) -> set[str]:
        """The names that the part binds."""
        own = {name for one in self.found if one not in self.imported for name in one.binds}
        return own.union(*self.imported.values())

    def _belongs(self, one: Statement, scope: Scope) -> bool:
        """Whether a statement changes a value of the part."""
        names = self.names
        match one.node:
            case (
                ast.Assign(targets=[ast.Subscript() | ast.Attribute() as target])
                | ast.AugAssign(target=ast.Subscript() | ast.Attribute() as target)
            ):
                name = root_of(target)
                return name in names and not self._is_refused(name, one, scope)
            case ast.Expr(value=ast.Call(func=function)):
                own = {name for name in one.reads if self._is_bound(name)}
                if own & self.module.engine or not one.top:
                    return False
                return root_of(function) in names and own <= names | self._plain_imports
            case ast.stmt() if isinstance(one.node, BLOCKS) and one.top:
                own = {name for name in one.reads if self._is_bound(name)}
                imported = {name for names in self.imported.values() for name in names}
                if set(changed_roots(one.node, calls=False)) & (names - imported):
                    return True
                changed = set(changed_roots(one.node)) & names
                return bool(changed) and own <= names | self._plain_imports
        return False

    def _is_refused(self, name: str, at: Statement, scope: Scope) -> bool:
        """Whether a name has a task or another object of only one engine at a statement."""
        before = scope.statements[: scope.statements.index(at)]
        last = [one for one in before if name in one.binds][-1:]
        return any((one.reads - one.binds) & self.module.refused for one in last)

    def _is_bound(self, name: str) -> bool:
        return bool(self.module.scope.binding(name)) or name in self.module.scope.unavailable

    @property
    def _plain_imports(self) -> set[str]:
        nodes = (one for one in self.module.scope.statements)
        found = {n for one in nodes if isinstance(one.node, ast.Import) for n in one.binds}
        return found - self.module.engine

    def _check_attributes(self, one: Statement) -> None:
        """Refuse attributes of an engine's package that the other engine does not have."""
        modules = {
            alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else "prefect"
            for found in self.found
            for node in ast.walk(found.node)
            if isinstance(node, ast.Import)
            for alias in node.names
            if engine_of(alias.name)
        }
        if not modules:
            return
        for node in ast.walk(one.node):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in modules:
                    if problem := refused_attribute(modules[name], attr):
                        raise NotSelfContained(problem)

    def text(self, *added: str) -> str:
        """The text of the part, and of statements that are ``added`` to it."""
        own = sorted(self.found, key=lambda one: (one.node.lineno, one.node.col_offset))
        types = [self._text(one) for one in own if one.guarded]
        inner = [self._text(one) for one in own if one in self.imported and not one.top]
        parts = [
            self._text(one)
            for one in own
            if not one.guarded and (one.top or one not in self.imported)
        ]
        imports, rest = split_imports(parts)
        if self.module.postponed:
            imports.insert(0, "from __future__ import annotations")
        block = [guarded(types)] if types else []
        return joined((*imports, *inner, *block, *self.constants.values(), *rest, *added))

    def _text(self, one: Statement) -> str:
        if self.target is not None and one is self.target.statement:
            return self.target.text
        if one in self.imported:
            return narrowed(one.node, self.imported[one], self.module.source)
        return statement_text(one.node, self.module.source)


@lru_cache(maxsize=16)
def module_of(source: str) -> Module:
    """The module of a source. Raises SyntaxError and ValueError."""
    return Module(source)


def _only(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.Import | ast.ImportFrom:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


def _is_main(test: ast.expr) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(test))


def _is_guard(node: ast.If) -> bool:
    match node.test:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name == _GUARD and not node.orelse:
            return all(isinstance(one, ast.Import | ast.ImportFrom) for one in node.body)
    return False


def statement_of(node: ast.stmt, *, postponed: bool) -> Statement:
    """A statement with the names that it binds and reads."""
    return _statement(node, postponed)


def _statement(
    node: ast.stmt, postponed: bool, *, guarded: bool = False, top: bool = True
) -> Statement:
    binds, reads = _names_in(node)
    # Copying takes many frames for each level of nesting, so it is done only if needed.
    bare = plain_definition(node, annotations=False) if postponed else node
    needed = _names_in(bare)[1] if postponed else reads
    quoted = frozenset(_quoted_names(node))
    return Statement(node, binds, needed, (reads | quoted) - needed, guarded, top)


def signature_names(definition: Definition) -> set[str]:
    """The names in the annotations of a function's signature."""
    given = [it.annotation for it in ast.walk(definition.args) if isinstance(it, ast.arg)]
    annotations = [one for one in (*given, definition.returns) if one is not None]
    found = {it.id for one in annotations for it in ast.walk(one) if isinstance(it, ast.Name)}
    return found.union(_quoted_names(definition))


def _quoted_names(node: ast.AST) -> Iterator[str]:
    """The names in annotations that are strings."""
    for one in ast.walk(node):
        annotation = getattr(one, "annotation", None) or getattr(one, "returns", None)
        if isinstance(annotation, ast.expr):
            for inner in ast.walk(annotation):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    with suppress(SyntaxError, ValueError):
                        tree = ast.parse(inner.value, mode="eval")
                        yield from (it.id for it in ast.walk(tree) if isinstance(it, ast.Name))


def _names_in(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a statement binds and reads in its scope."""
    try:
        top = symtable.symtable(ast.unparse(node), "source", "exec")
    except SyntaxError:  # such as `nonlocal` outside a function
        names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
        return (
            frozenset(one.id for one in names if not isinstance(one.ctx, ast.Load)),
            frozenset(one.id for one in names),
        )
    symbols = top.get_symbols()
    binds = {one.get_name() for one in symbols if one.is_assigned() or one.is_imported()}
    reads = {one.get_name() for one in symbols if one.is_referenced()}

    def inside(scope: symtable.SymbolTable) -> Iterator[str]:
        for symbol in scope.get_symbols():
            used = symbol.is_referenced() and symbol.is_global()
            if used or symbol.is_declared_global():
                yield symbol.get_name()
        for child in scope.get_children():
            yield from inside(child)

    for child in top.get_children():
        reads.update(inside(child))
    return frozenset(binds), frozenset(reads)
