"""Imports of an engine's names in carried code, and what takes their place on the other engine.

``from prefect import get_run_logger`` is ``from sagebridge_operators.airflow.prefect_names import
get_run_logger`` in a DAG file. If the names came from a module other than the first one that has
them, a comment at the end of the import names it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection

from sagebridge.model.engine_names import (
    OFFERED_NAMES,
    OFFERING_MODULES,
    engine_of,
    offered_name,
    original_name,
)

_ENGINES = {module: engine for engine, module in OFFERING_MODULES.items()}
_ORIGIN = re.compile(r"  # ((?:airflow|prefect)[\w.]*)(?=\s|$)")
_TITLES = {"airflow": "Airflow", "prefect": "Prefect"}
_Import = ast.Import | ast.ImportFrom


def refused_imports(node: _Import) -> str:
    """Why an import cannot be carried to the other engine; empty if it can."""
    for alias in node.names:
        module = alias.name if isinstance(node, ast.Import) else node.module or ""
        engine = engine_of(module)
        if not engine:
            package, _, rest = module.partition(".")
            offered = {module, f"{module}.{alias.name}"} & set(_ENGINES)
            own = package == "sagebridge_operators" and not offered
            if own and rest.partition(".")[0] in _TITLES:
                return f"uses {alias.name} of {module}, which only one engine has"
        elif isinstance(node, ast.Import):
            if engine == "airflow" or engine != module.partition(".")[0]:
                return f"imports {module}, which only {_TITLES[engine]} has"
        elif offered_name(module, alias.name) is None:
            return f"uses {alias.name} of {module}, which only {_TITLES[engine]} has"
    return ""


def refused_attribute(module: str, name: str) -> str:
    """Why code cannot use ``name`` of an imported module on the other engine; empty if it can."""
    if _parent(module) or offered_name(module, name) == name:
        return ""
    return f"uses {name} of {module}, which only {_TITLES[engine_of(module)]} has"


def _parent(module: str) -> tuple[str, str] | None:
    """The module and the name with which the other engine offers a module, such as runtime."""
    parent, _, name = module.rpartition(".")
    return (parent, name) if offered_name(parent, name) else None


def narrowed(node: ast.stmt, names: Collection[str], source: str) -> str:
    """The text of an import with only some of its names, in order; all of them: its own text."""
    from sagebridge.formats.python.statement_text import statement_text

    assert isinstance(node, _Import)
    bound = {alias.asname or alias.name.partition(".")[0]: alias for alias in node.names}
    if set(bound) <= set(names) or "*" in bound:
        text = statement_text(node, source)
        return text if "#" in text else ast.unparse(node)
    kept = sorted((bound[name] for name in names), key=lambda one: (one.name, one.asname or ""))
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(kept))
    rest = source.split("\n")[(node.end_lineno or node.lineno) - 1].encode()
    found = _ORIGIN.match(rest[node.end_col_offset or 0 :].decode())
    comment = found[0] if found and node.module in _ENGINES else ""
    return ast.unparse(ast.ImportFrom(node.module, kept, node.level)) + comment


def for_engine(text: str, engine: str) -> str:
    """Carried code as a file of ``engine`` has it."""
    return _edited(text, lambda node, own, rest: _offered(node, own, rest, engine))


def original(text: str) -> str:
    """Carried code of a written file as it was where it came from."""
    return _edited(text, _restored)


_Edit = Callable[[_Import, str, str], "tuple[str, int] | None"]
"""From an import, its text and the rest of its line: the new text, and how much of the rest goes"""


def _edited(text: str, edit: _Edit) -> str:
    if not any(package in text for package in (*_TITLES, "sagebridge_operators")):
        return text
    nodes = [one for one in ast.walk(ast.parse(text)) if isinstance(one, _Import)]
    lines = text.encode().split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    data = text.encode()
    for node in sorted(nodes, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        last = node.end_lineno or node.lineno
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[last - 1] + (node.end_col_offset or 0)
        rest = data[end : starts[last] - 1]
        if (done := edit(node, data[start:end].decode(), rest.decode())) is not None:
            new, cut = done
            data = data[:start] + new.encode() + data[end + cut :]
    return data.decode()


def _offered(node: _Import, own: str, rest: str, engine: str) -> tuple[str, int] | None:
    module = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
    from_engine = engine_of(module)
    if from_engine in ("", engine) or refused_imports(node):
        return None
    offering = OFFERING_MODULES[from_engine]
    comment = ""
    if isinstance(node, ast.Import):
        (alias,) = node.names
        package, _, name = offering.rpartition(".")
        if alias.asname and (parent := _parent(module)):
            package, (module, name) = offering, parent
        new = f"from {package} import {name} as {alias.asname or from_engine}"
        expected = _module_of(from_engine, [name]) if package == offering else from_engine
    else:
        pairs = [(offered_name(module, one.name) or one.name, one) for one in node.names]
        if all(offered == one.name for offered, one in pairs):
            new = re.sub(r"^from\s+[\w.]+", f"from {offering}", own)
        else:
            new = ast.unparse(ast.ImportFrom(offering, [_alias(*one) for one in pairs], 0))
        expected = _module_of(from_engine, [offered for offered, _ in pairs])
    if expected != module and (not rest.strip() or rest.lstrip().startswith("#")):
        comment = f"  # {module}"
    return new + comment, 0


def _alias(offered: str, one: ast.alias) -> ast.alias:
    bound = one.asname or one.name
    return ast.alias(offered, None if offered == bound else bound)


def _module_of(engine: str, offered: Collection[str]) -> str:
    """The first module that has all these names."""
    for module, names in OFFERED_NAMES[engine].items():
        if {offered_name(module, name) for name in names} >= set(offered):
            return module
    return ""


def _restored(node: _Import, own: str, rest: str) -> tuple[str, int] | None:
    if not isinstance(node, ast.ImportFrom):
        return None
    found = _ORIGIN.match(rest)
    cut = len(found[0].encode()) if found else 0
    for offering, engine in _ENGINES.items():
        package, _, name = offering.rpartition(".")
        if node.module == package and [one.name for one in node.names] == [name]:
            bound = node.names[0].asname or name
            module = found[1] if found else engine
            new = ast.Import([ast.alias(module, None if bound == engine else bound)])
            return ast.unparse(new), cut
    if (engine := _ENGINES.get(node.module or "", "")) == "":
        return None
    names = [one.name for one in node.names]
    module = found[1] if found else _module_of(engine, names)
    originals = [_original(engine, module, name) for name in names]
    if originals == names and "#" in own:
        return re.sub(r"^from\s+[\w.]+", f"from {module}", own), cut
    pairs = zip(originals, node.names, strict=True)
    return ast.unparse(ast.ImportFrom(module, [_alias(*one) for one in pairs], 0)), cut


def _original(engine: str, module: str, offered: str) -> str:
    for name in OFFERED_NAMES[engine].get(module, ()):
        if offered_name(module, name) == offered:
            return name
    found = original_name(engine, offered)
    return found[1] if found else offered
