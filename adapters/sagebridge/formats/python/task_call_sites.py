"""The task calls of a Python file, found in its syntax alone.

The count of tasks uses them, so it does not depend on what a reader understands. Nothing is
imported or executed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from sagebridge.model.display import words

_TASK = words(
    "prefect.task prefect.tasks.task prefect.assets.materialize airflow.sdk.task "
    "airflow.decorators.task"
)
_FLOW = ("prefect.flow", "prefect.flows.flow")
_RUNS = frozenset(("apply_async", "delay", "expand", "expand_kwargs", "map", "submit"))
"""Methods of a task that run it."""
_CHANGES = frozenset(("override", "partial", "with_options"))
"""Methods of a task that return a task."""
_NO_RUNS = frozenset(("fn", "serve"))
"""Attributes of a task whose use does not run it."""
Def = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call of a task: the name of its function, and the first and last line of the call."""

    name: str
    line: int
    last_line: int


def flow_call_sites(file: Path) -> list[CallSite]:
    """The task calls of the flows of a file, and of the functions that they use, in order.

    A task that is only passed on, as in ``run_all([extract, load])``, counts once.
    """
    source = _Source(file)
    found: dict[int, CallSite] = {}
    passed: dict[str, CallSite] = {}
    for function in source.reachable():
        called: set[int] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (name := source.called_task(node)):
                base = _task_expression(node.func)
                called.add(id(base))
                found[id(node)] = _site(name, node)
        for node, name in source.references(function):
            if id(node) not in called:
                passed.setdefault(name, _site(name, node))
    sites = list(found.values())
    names = {site.name for site in sites}
    sites += [site for name, site in passed.items() if name not in names]
    return sorted(sites, key=lambda site: (site.line, site.last_line, site.name))


def dag_call_sites(file: Path) -> list[CallSite]:
    """The operators and @task calls of a DAG file that cannot be imported, in order."""
    source = _Source(file)
    sites = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = source.called_task(node) or _operator(node.func)
            if name:
                sites.append(_site(name, node))
    return sorted(sites, key=lambda site: (site.line, site.last_line))


def calls_task(text: str, name: str) -> bool:
    """Whether source code calls or passes on the task ``name``."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        for node in ast.walk(tree)
    )


def _site(name: str, node: ast.expr) -> CallSite:
    return CallSite(name, node.lineno, node.end_lineno or node.lineno)


def _operator(called: ast.expr) -> str:
    """The name of a called operator or sensor class."""
    if isinstance(called, ast.Attribute) and called.attr == "partial":
        called = called.value
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    return name if name.endswith(("Operator", "Sensor", "SensorAsync")) else ""


def _task_expression(called: ast.expr) -> ast.expr:
    """The task in ``task``, ``task.submit`` or ``task.with_options(…).map``."""
    if isinstance(called, ast.Attribute) and called.attr in _RUNS:
        called = called.value
    while (
        isinstance(called, ast.Call)
        and isinstance(called.func, ast.Attribute)
        and called.func.attr in _CHANGES
    ):
        called = called.func.value
    return called


class _Source:
    """A parsed file: its imports, functions and tasks by name."""

    def __init__(self, file: Path, depth: int = 0) -> None:
        self.file = file
        self.tree = ast.parse(file.read_bytes(), str(file))
        self.imports: dict[str, str] = {}
        self.functions: dict[str, list[Def]] = {}
        self.tasks: dict[str, str] = {}
        """The function of each task by its name in the file."""
        self.methods: set[str] = set()
        imported: list[ast.ImportFrom] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.imports[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                imported.append(node)
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.ClassDef):
                self.methods.update(one.name for one in node.body if isinstance(one, Def))
            elif isinstance(node, Def):
                self.functions.setdefault(node.name, []).append(node)
        for name, defined in self.functions.items():
            if any(self._is(one, _TASK) for item in defined for one in item.decorator_list):
                self.tasks[name] = name
        if depth < 2:
            for statement in imported:
                self._add_imported(statement, depth)
        self._add_assigned()

    def called_task(self, node: ast.Call) -> str:
        """The function of the task that a call runs; empty if it runs none."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            return ""
        return self._task(_task_expression(node.func))

    def references(self, function: Def) -> Iterator[tuple[ast.expr, str]]:
        """The uses of tasks in a function that may run them."""
        skipped = {
            id(node.value)
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and node.attr in _NO_RUNS
        }
        for node in ast.walk(function):
            if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
                continue
            if id(node) not in skipped and (name := self._task(node)):
                yield node, name

    def reachable(self) -> list[Def]:
        """The flows of the file, and all functions of the file that they use."""
        flows = {
            name
            for name, defined in self.functions.items()
            if any(self._is(one, _FLOW) for item in defined for one in item.decorator_list)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and self._is(node, _FLOW):
                flows.update(one.id for one in node.args if isinstance(one, ast.Name))
        seen: dict[str, None] = {}
        waiting = sorted(flows & self.functions.keys())
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen[name] = None
            for function in self.functions[name]:
                for node in ast.walk(function):
                    used = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
                    used = self.tasks.get(used, used)
                    if used in self.functions:
                        waiting.append(used)
        return [function for name in seen for function in self.functions[name]]

    def _task(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return self.tasks.get(name, "")
            case ast.Attribute(attr=name) if name in self.methods:
                return self.tasks.get(name, "")
        return ""

    def _is(self, node: ast.expr, names: Collection[str]) -> bool:
        """Whether a decorator or call is one of the dotted names, or an attribute of one."""
        if isinstance(node, ast.Call):
            node = node.func
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return isinstance(node, ast.Call) and self._is(node, names)
        dotted = ".".join((self.imports.get(node.id, node.id), *reversed(parts)))
        return any(dotted == name or dotted.startswith(f"{name}.") for name in names)

    def _add_imported(self, statement: ast.ImportFrom, depth: int) -> None:
        """The tasks that a file imports from files next to it, or from Prefect's integrations."""
        module = statement.module or ""
        roots = [self.file.parent]
        if statement.level > 1:
            roots = [self.file.parents[statement.level - 1]]
        elif module.startswith("prefect_"):
            roots += map(Path, sys.path)
        parts = module.split(".") if module else []
        for root in roots:
            base = root.joinpath(*parts)
            path = base.with_suffix(".py") if parts else base / "__init__.py"
            path = path if path.is_file() else base / "__init__.py"
            if path.is_file() and path != self.file:
                other = _Source(path, depth + 1)
                for alias in statement.names:
                    if alias.name in other.tasks:
                        self.tasks[alias.asname or alias.name] = other.tasks[alias.name]
                return

    def _add_assigned(self) -> None:
        """Tasks made by a call: ``load = task(load_all)``, ``slow = load.with_options(…)``."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            call = node.value
            changed = isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGES
            made = self._task(_task_expression(call)) if changed else ""
            if self._is(call, _TASK) and call.args:
                first = call.args[0]
                made = first.id if isinstance(first, ast.Name) else "task"
            for target in node.targets:
                if made and isinstance(target, ast.Name):
                    self.tasks[target.id] = made
