"""The parts of modules that the functions of a file need, put together in one file."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sagebridge.formats.python.engine_imports import for_engine, original
from sagebridge.formats.python.statement_text import (
    GUARD,
    guarded,
    guarded_imports,
    joined,
    plain_definition,
    split_imports,
    statement_text,
)
from sagebridge.model.display import free_name
from sagebridge.model.engine_names import OFFERING_MODULES
from sagebridge.model.functions import Function
from sagebridge.model.values import EMPTY


def statements(text: str) -> list[str]:
    """The statements of carried code, each with its comments."""
    return [statement_text(node, text) for node in ast.parse(text).body]


def bound_names(text: str) -> frozenset[str]:
    """The names that a statement binds in its module."""
    found: set[str] = set()
    pending: list[ast.AST] = list(ast.parse(text).body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found |= {one.asname or one.name.partition(".")[0] for one in aliases}
            case ast.Lambda():
                pass
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case _:
                pending += ast.iter_child_nodes(node)
    return frozenset(found)


@dataclass
class CarriedModules:
    """The statements of all modules, each once, and the names of the functions in them."""

    texts: list[str] = field(default_factory=list)
    names: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, functions: Iterable[Function], engine: str, order: Mapping[str, int] = EMPTY
    ) -> CarriedModules:
        """The modules of functions in a file of an engine; names that clash are renamed.

        ``order`` has the position of each name in the source. A function that is a task in another
        module is written once, as that task.
        """
        result = cls()
        functions = list(functions)
        tasks: dict[str, str] = {}
        for module in dict.fromkeys(one.module for one in functions if one.module):
            tasks |= _tasks(statements(module))
        sequences: list[list[str]] = []
        known: dict[str, list[str]] = {}
        for one in functions:
            if not one.module or identity(one) in result.names:
                continue
            module, name = _with_tasks(one.module, tasks) if tasks else one.module, one.name
            while clash := _clash(module, known):
                new = free_name(clash, {*known, *_all_names(module)})
                module = _renamed(module, clash, new)
                name = new if clash == name else name
            result.names[identity(one)] = name
            own = statements(module)
            for bound, texts in _bindings(own).items():
                known.setdefault(bound, texts)
            sequences.append(own)
        result.texts = [for_engine(one, engine) for one in _merged(sequences, order)]
        return result

    @cached_property
    def imports(self) -> list[str]:
        """The imports at the top."""
        return split_imports(self.texts)[0]

    @cached_property
    def rest(self) -> list[str]:
        """The other statements."""
        return split_imports(self.texts)[1]

    @cached_property
    def bound(self) -> frozenset[str]:
        """The names that the statements bind."""
        return frozenset().union(*map(bound_names, self.texts))

    @cached_property
    def tasks(self) -> dict[str, str]:
        """The names of Prefect tasks, by the code of their functions."""
        found = _tasks(original(text) for text in self.texts)
        return {code: min(bound_names(text)) for code, text in found.items()}

    @cached_property
    def imported(self) -> Mapping[str, tuple[str, str]]:
        """The module and name of each name that is imported at the top."""
        found: dict[str, tuple[str, str]] = {}
        for text in self.imports:
            (node,) = ast.parse(text).body
            if isinstance(node, ast.ImportFrom):
                found |= {
                    one.asname or one.name: (node.module or "", one.name) for one in node.names
                }
            elif isinstance(node, ast.Import):
                found |= {one.asname or one.name: (one.name, "") for one in node.names}
        return found


def _tasks(texts: Iterable[str]) -> dict[str, str]:
    """The functions that Prefect's ``@task`` decorates: their code without it, and their text."""
    imported: set[str] = set()
    found: dict[str, str] = {}
    for text in texts:
        match ast.parse(text).body[0]:
            case ast.ImportFrom(module="prefect", names=names):
                imported |= {one.asname or one.name for one in names if one.name == "task"}
            case (ast.FunctionDef() | ast.AsyncFunctionDef()) as node if node.decorator_list:
                nodes = (it for one in node.decorator_list for it in ast.walk(one))
                if {one.id for one in nodes if isinstance(one, ast.Name)} <= imported:
                    found[_code(node)] = text
    return found


def _code(node: ast.stmt) -> str:
    """The code of a statement; of a function, without its decorators."""
    return ast.unparse(plain_definition(node, decorators=False))


def _with_tasks(module: str, tasks: Mapping[str, str]) -> str:
    """A module with the functions that are tasks in another module as these tasks."""
    own = statements(module)
    if "task" in _bindings(own):
        return module
    return joined([tasks.get(_code(ast.parse(text).body[0]), text) for text in own])


def identity(function: Function) -> tuple[str, str, str]:
    """What two equal functions have in common."""
    return function.name, function.code, function.module


def _bindings(texts: Sequence[str]) -> dict[str, list[str]]:
    """The statements that bind each name; of an import, only what it imports under that name."""
    found: dict[str, list[str]] = {}
    for text in texts:
        (node,) = ast.parse(text).body
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            for one in node.names:
                name = one.asname or one.name.partition(".")[0]
                found.setdefault(name, []).append(f"import {module} {one.name}")
        elif not text.startswith(GUARD):
            for name in bound_names(text):
                found.setdefault(name, []).append(text)
    return found


def _clash(module: str, known: Mapping[str, list[str]]) -> str:
    """A name that a module binds to something else than the others do; otherwise empty."""
    own = _bindings(statements(module))
    return next((name for name, texts in own.items() if known.get(name, texts) != texts), "")


def _all_names(module: str) -> set[str]:
    return {one.id for one in ast.walk(ast.parse(module)) if isinstance(one, ast.Name)}


def _renamed(module: str, old: str, new: str) -> str:
    """A module in which one of its names is another one."""
    return joined([_Renaming(old, new).of(text) for text in statements(module)])


class _Renaming(ast.NodeTransformer):
    """Renames a module's name in a statement, outside functions that have it as a local name."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def of(self, text: str) -> str:
        tree = ast.parse(text)
        before = ast.dump(tree)
        after = self.visit(tree)
        return text if ast.dump(after) == before else ast.unparse(after)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.new if node.id == self.old else node.id
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        if self.old == (node.asname or node.name):
            node.asname = self.new
        return node

    def _visit_block(self, node: Any) -> Any:
        node.name = self.new if node.name == self.old else node.name
        if isinstance(node, ast.ClassDef) or not self._is_local(node):
            self.generic_visit(node)
        if isinstance(node, ast.ClassDef):
            self._restore_members(node)
        return node

    def _restore_members(self, node: ast.ClassDef) -> None:
        """Gives the methods and fields of a class their names back."""
        for one in node.body:
            targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", one)]
            for member in targets:
                for field_name in ("name", "id"):
                    if getattr(member, field_name, None) == self.new:
                        setattr(member, field_name, self.old)

    def visit(self, node: ast.AST) -> Any:
        blocks = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        return self._visit_block(node) if isinstance(node, blocks) else super().visit(node)

    def _is_local(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        return any(
            (isinstance(one, ast.arg) and one.arg == self.old)
            or (isinstance(one, ast.Name) and one.id == self.old and isinstance(one.ctx, ast.Store))
            for one in ast.walk(node)
        )


def position_of(text: str, order: Mapping[str, int], last: int = -1) -> int:
    """The position of a statement in its source; ``last`` if it binds no name."""
    found = (order.get(name, len(order)) for name in bound_names(text))
    return min(found, default=last)


def _merged(sequences: Sequence[Sequence[str]], order: Mapping[str, int]) -> list[str]:
    """All statements once, in the order of the source, and of each sequence if possible."""
    covers = _covering_imports(sequences)
    guards: dict[str, None] = {}
    nodes: dict[tuple[str, int], int] = {}
    after: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for sequence in sequences:
        last: tuple[str, int] | None = None
        blocks = (one for one in sequence if one.startswith(GUARD))
        guards |= dict.fromkeys(text for one in blocks for text in guarded_imports(one))
        own = (GUARD if one.startswith(GUARD) else covers.get(one, one) for one in sequence)
        for node in dict.fromkeys(_counted(own)):
            nodes.setdefault(node, len(nodes))
            after.setdefault(node, set())
            if last:
                after[node].add(last)
            last = node
    ranks = {one: (*_rank(one[0], order), at) for one, at in nodes.items()}
    result: list[str] = []
    while nodes:
        ready = [one for one in nodes if not after[one] & nodes.keys()] or list(nodes)
        chosen = min(ready, key=ranks.__getitem__)
        del nodes[chosen]
        result.append(guarded(list(guards)) if chosen[0] == GUARD else chosen[0])
    return result


def _counted(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each statement and how often it came before: only an import means the same twice."""
    seen: Counter[str] = Counter()
    for text in texts:
        yield text, seen[text]
        seen[text] += text != GUARD and not split_imports([text])[0]


def _rank(text: str, order: Mapping[str, int]) -> tuple[int, int, bool]:
    """Imports come first, and constants before functions that are not in the source."""
    if text == GUARD:
        return 1, 0, False
    if split_imports([text])[0]:
        return 0, 0, False
    (node, *_) = ast.parse(text).body
    is_block = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return 2, position_of(text, order), is_block


def _covering_imports(sequences: Sequence[Sequence[str]]) -> dict[str, str]:
    """For an import of some names of a module: the import of these and more names of it."""
    found: dict[str, set[str]] = {}
    for text in dict.fromkeys(text for sequence in sequences for text in sequence):
        (node, *_) = ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.setdefault(node.module or "", set()).add(text)
    result: dict[str, str] = {}
    for module, texts in found.items():
        if len(texts) < 2 or module == "__future__":
            continue
        names = {text: _aliases(text) for text in sorted(texts)}
        if all(text == _sorted_import(module, names[text]) for text in texts):
            whole = _sorted_import(module, frozenset().union(*names.values()))
            result |= dict.fromkeys(texts, whole)
            continue
        for text, own in names.items():
            wider = [one for one in names if own < names[one]]
            if wider:
                result[text] = max(wider, key=lambda one: (len(names[one]), one))
    return result


def merged_imports(texts: Sequence[str]) -> list[str]:
    """Imports in which those of one module are one, if that changes nothing when it is read."""
    found: dict[str, set[str]] = {}
    for text in texts:
        (node, *_) = ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and not node.level and "#" not in text:
            module = node.module or ""
            fixed = module == "__future__" or module in OFFERING_MODULES.values()
            if not fixed and text == _sorted_import(module, _aliases(text)):
                found.setdefault(module, set()).add(text)
    result = dict.fromkeys(texts)
    for module, own in found.items():
        if len(own) > 1:
            result = {text: None for text in result if text not in own}
            result[_sorted_import(module, frozenset().union(*map(_aliases, own)))] = None
    return list(result)


def _aliases(text: str) -> frozenset[tuple[str, str]]:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.ImportFrom)
    return frozenset((one.name, one.asname or "") for one in node.names)


def _sorted_import(module: str, names: Iterable[tuple[str, str]]) -> str:
    aliases = [ast.alias(name, asname or None) for name, asname in sorted(names)]
    return ast.unparse(ast.ImportFrom(module, aliases, 0))
