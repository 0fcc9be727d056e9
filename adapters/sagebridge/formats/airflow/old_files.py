"""DAG files of Airflow 1.10 and 2: their imports and arguments become those of Airflow 3.

Imports are changed in the source, without moving lines, before it is imported. Code that is carried
into a written file therefore has the new imports, too.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator, Mapping
from functools import wraps
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

from sagebridge.errors import PythonFileError
from sagebridge.formats.airflow.dates import days_ago
from sagebridge.formats.airflow.old_names import (
    DAG_ARGUMENTS,
    MODULES,
    POSITIONAL,
    TASK_ARGUMENTS,
    TRIGGER_RULES,
    new_name,
)

_KINDS = frozenset(("contrib", "hooks", "operators", "sensors", "transfers"))
"""Packages of Airflow whose modules providers have."""
_FIX = "change it for Airflow 3; `ruff check --select AIR {file}` lists what has to change"


def migrated(file: Path) -> ast.Module | None:
    """The syntax tree of a file with the imports of Airflow 3; None if it needs no change.

    ``linecache`` then has the new source, where ``inspect`` finds it.
    """
    data = file.read_bytes()
    if b"airflow" not in data:
        return None
    try:
        source = data.decode()
        tree = ast.parse(source, str(file))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # importing it reports this
    if "airflow.utils.dates.days_ago" in source:
        dates: Any = import_module("airflow.utils.dates")
        dates.days_ago = days_ago
    edits = list(_edits(tree))
    if not edits:
        return None
    lines = source.splitlines(keepends=True)
    for node, text in sorted(edits, key=lambda edit: _start(edit[0]), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before = lines[first].encode()[: node.col_offset].decode()
        after = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = [before + text + after, *["\n"] * (last - first)]
    linecache.cache[str(file)] = (len(data), None, lines, str(file))
    return ast.parse("".join(lines), str(file))


def _start(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _edits(tree: ast.Module) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    """The nodes that have old names, with their new source."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            full = {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            modules |= {bound: name for bound, name in full.items() if name in MODULES}
            if (text := _migrated_import(node)) is not None:
                yield node, text
        elif isinstance(node, ast.Import):
            old = {one.name: one.asname or one.name for one in node.names if one.name in MODULES}
            modules |= {bound: name for name, bound in old.items()}
            if old:
                aliases = [
                    ast.alias(MODULES.get(one.name, one.name), one.asname) for one in node.names
                ]
                yield node, ast.unparse(ast.Import(aliases))
    for node in ast.walk(tree) if modules else ():
        if isinstance(node, ast.Attribute) and (bound := ast.unparse(node.value)) in modules:
            module, name = new_name(modules[bound], node.attr) or (bound, node.attr)
            yield node, f"{module if bound == modules[bound] else bound}.{name}"


def _migrated_import(node: ast.ImportFrom) -> str | None:
    if not (node.module or "").startswith("airflow") or node.level:
        return None
    modules: dict[str, list[ast.alias]] = {}
    for alias in node.names:
        module, name = new_name(str(node.module), alias.name) or (str(node.module), alias.name)
        bound = alias.asname or alias.name
        one = ast.alias(name, None if name == bound else bound)
        modules.setdefault(module, []).append(one)
    if list(modules) == [node.module] and [one.name for one in node.names] == [
        one.name for one in modules[str(node.module)]
    ]:
        return None
    return "; ".join(ast.unparse(ast.ImportFrom(*one, 0)) for one in modules.items())


def accept_old_arguments() -> None:
    """Make DAGs and operators accept arguments of Airflow 1.10 and 2, in this process."""
    from airflow.sdk import DAG, BaseOperator

    dag: Any = DAG
    begin = dag.__init__

    @wraps(begin)  # the reader looks at its signature
    def init(self: Any, *args: Any, **given: Any) -> None:
        args, given = args[:1], given | dict(zip(POSITIONAL, args[1:], strict=False))
        given = _renamed(given, DAG_ARGUMENTS)
        if isinstance(defaults := given.get("default_args"), dict):
            given["default_args"] = _task_arguments(defaults, {})
        begin(self, *args, **given)
        # Airflow takes the caller of __init__ (_default_fileloc in airflow/sdk/definitions/dag.py).
        self.fileloc = sys._getframe(1).f_code.co_filename

    dag.__init__ = init
    meta: Any = type(BaseOperator)
    create = meta.__call__

    def call(cls: Any, *args: Any, **given: Any) -> Any:
        if (given.keys() & TASK_ARGUMENTS.keys()) or "trigger_rule" in given:
            given = _task_arguments(given, _parameters(cls))
        return create(cls, *args, **given)

    descriptor = vars(BaseOperator)["partial"]
    map_class = descriptor.class_method.__func__

    def partial(cls: Any, /, **given: Any) -> Any:
        return map_class(cls, **_task_arguments(given, _parameters(cls)))

    # BaseOperatorMeta.__new__ (airflow/sdk/bases/operator.py) sets it, since tasks have no partial.
    descriptor.class_method = classmethod(partial)

    def signature(cls: Any) -> inspect.Signature:
        found = inspect.signature(cls.__init__)
        return found.replace(parameters=list(found.parameters.values())[1:])

    meta.__call__ = call
    # inspect would take the signature of a class from __call__.
    meta.__signature__ = property(signature)


def _parameters(cls: Any) -> Mapping[str, Any]:
    """The parameters of the constructors of an operator."""
    found: dict[str, Any] = {}
    for one in cls.__mro__:
        if "__init__" in vars(one):
            found |= inspect.signature(one.__init__).parameters
    return found


def _task_arguments(given: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    old = {name: new for name, new in TASK_ARGUMENTS.items() if name not in own}
    given = _renamed(given, old)
    rule = given.get("trigger_rule")
    if isinstance(rule, str) and rule in TRIGGER_RULES:
        given["trigger_rule"] = TRIGGER_RULES[rule]
    return given


def _renamed(given: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    new = {names.get(name, name): value for name, value in given.items()}
    new.pop("", None)
    return new


def check_imports(file: Path, error: ImportError) -> None:
    """Raises PythonFileError with all names of Airflow that a file imports and Airflow 3 lacks."""
    name = error.name or ""
    if name.partition(".")[0] != "airflow":
        return
    tree = migrated(file) or ast.parse(file.read_bytes())
    missing = list(_missing(tree))
    if not missing:
        return
    rows = "; ".join(f"line {line}: {one}" for line, one in missing)
    problem = f"imports what the installed Airflow does not have: {rows}"
    raise PythonFileError(str(file), missing[0][0], problem, _FIX.format(file=file.name))


def _missing(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names = [(one.name, "") for one in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                names = [(module, one.name) for one in node.names]
            case _:
                continue
        for module, name in names:
            if module.partition(".")[0] == "airflow" and not _exists(module, name):
                yield node.lineno, f"{module}.{name}".rstrip(".") + f" ({_advice(module)})"


def _advice(module: str) -> str:
    """The package that a module needs, or ruff's rule for it."""
    parts = module.split(".")
    if parts[1:2] == ["providers"] and not _exists(".".join(parts[:3]), ""):
        own = list(takewhile(lambda part: part not in _KINDS, parts[2:]))
        return f"install apache-airflow-providers-{'-'.join(own)}"
    if parts[-1].startswith("subdag"):
        return "use a TaskGroup"
    return "AIR302" if _KINDS.intersection(parts) else "AIR301"


def _exists(module: str, name: str) -> bool:
    try:
        found = import_module(module)
    except ImportError:
        return False
    if not name or name == "*" or hasattr(found, name):
        return True
    try:
        import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True
