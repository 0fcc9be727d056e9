"""The deployments of a flow: calls in its file, and entries of a ``prefect.yaml``.

A pipeline has no deployment, so schedules, parameters and the other settings are losses. The file
is parsed, not executed, so calls below ``if __name__ == "__main__":`` count too.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sagebridge.formats.prefect.constructs import DEPLOYMENT_OPTIONS, option_losses
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss

_METHODS = frozenset(("serve", "deploy", "to_deployment", "adeploy", "ato_deployment"))
_FUNCTIONS = frozenset(("serve", "aserve", "deploy", "adeploy"))
_SCHEDULES = frozenset(("cron", "interval", "rrule", "schedule", "schedules"))
_TELLING = _SCHEDULES | {"work_pool_name", "job_variables", "entrypoint_type"}
"""Arguments that only a deployment of Prefect has."""
_PARENTS = 4
"""How many parent folders of a flow file are searched for a ``prefect.yaml``."""
_TARGET = "pipeline"


class _Found(NamedTuple):
    """A loss at a place; ``flow`` is the name of the flow function, or None for every flow."""

    flow: str | None
    place: str
    lost: Unsupported

    def loss(self) -> Loss:
        lost = self.lost
        return Loss(lost.code, lost.severity, self.place, lost.what, _TARGET, lost.advice)


def deployment_losses(file: str, tree: ast.Module, flows: Sequence[str]) -> dict[str, list[Loss]]:
    """The losses of the deployments of a file's flows, by the name of the flow function."""
    found = [*_Calls(file, tree, flows).losses(), *_yaml_losses(Path(file), flows)]
    return {
        name: [one.loss() for one in found if one.flow is None or one.flow == name]
        for name in flows
    }


class _Option(NamedTuple):
    name: str
    text: str
    line: int


def _losses(title: str, line: int, options: Sequence[_Option]) -> Iterator[tuple[int, Unsupported]]:
    """The losses of one deployment with their lines; the last is of the deployment itself."""
    only_prefect = []
    for name, text, at in options:
        for lost in option_losses(DEPLOYMENT_OPTIONS, [(name, text)]):
            if lost.severity == "info":
                only_prefect.append(f"{name}={text}")
            else:
                yield at, lost._replace(what=f"{title}: {lost.what}")
    rest = f" ({', '.join(only_prefect)})" if only_prefect else ""
    advice = "deploy the translated pipeline itself"
    yield line, Unsupported("deployment", "info", f"{title} is not carried over{rest}", advice)


class _Calls:
    """Calls that deploy a flow, anywhere in a file."""

    def __init__(self, file: str, tree: ast.Module, flows: Sequence[str]) -> None:
        self.file, self.tree, self.flows = file, tree, frozenset(flows)
        self.values: dict[str, ast.expr] = {}
        self.imported: set[str] = set()
        self.modules: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.values.setdefault(name, value)
                case ast.ImportFrom(module=module, names=names) if (module or "").split(".")[
                    0
                ] == "prefect":
                    self.imported |= {
                        one.asname or one.name for one in names if one.name in _FUNCTIONS
                    }
                case ast.Import(names=names):
                    self.modules |= {
                        one.asname or "prefect" for one in names if one.name == "prefect"
                    }

    def losses(self) -> Iterator[_Found]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield from self._call(node)

    def _call(self, node: ast.Call) -> Iterator[_Found]:
        match node.func:
            case ast.Name(id=name) if name in self.flows:
                yield from self._direct_call(node, name)
            case ast.Name(id=name) if name in self.imported:
                yield from self._joint_call(node, name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (
                module in self.modules and name in _FUNCTIONS
            ):
                yield from self._joint_call(node, name)
            case ast.Attribute(value=base, attr=name) if name in _METHODS:
                flows = self._flows(base)
                if flows is None and _TELLING.isdisjoint(one.arg for one in node.keywords):
                    return
                yield from self._method_call(node, name, flows)

    def _method_call(
        self, node: ast.Call, method: str, flows: frozenset[str] | None
    ) -> Iterator[_Found]:
        options = list(self._options(node))
        names = [one.text for one in options if one.name == "name"]
        names += map(self._text, node.args[:1])
        title = f"the deployment {names[0]}" if names else f"the deployment of {method}()"
        for line, lost in _losses(title, node.lineno, options):
            for flow in (None,) if flows is None else flows:
                yield _Found(flow, f"{self.file}:{line}", lost)

    def _joint_call(self, node: ast.Call, function: str) -> Iterator[_Found]:
        """``serve(a.to_deployment(…), …, limit=3)``: its own options, for every flow."""
        for name, text, line in self._options(node):
            for lost in option_losses(DEPLOYMENT_OPTIONS, [(name, text)]):
                what = f"{function}(): {lost.what}"
                yield _Found(None, f"{self.file}:{line}", lost._replace(what=what))

    def _direct_call(self, node: ast.Call, flow: str) -> Iterator[_Found]:
        """``main(day="…")`` outside every function, as below ``if __name__ == "__main__":``.

        Values of the command line, as in written files, are values that an execution is given.
        """
        given = [*node.args, *(one.value for one in node.keywords)]
        from_command = any("sys.argv" in ast.unparse(one) for one in given)
        if given and not from_command and not self._inside_function(node):
            what = f"the file itself runs {ast.unparse(node)}, which is not carried over"
            advice = "pass these values to an execution"
            lost = Unsupported("engine-option", "info", what, advice)
            yield _Found(flow, f"{self.file}:{node.lineno}", lost)

    def _inside_function(self, node: ast.AST) -> bool:
        functions = (
            one
            for one in ast.walk(self.tree)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        )
        return any(node is inner for one in functions for inner in ast.walk(one))

    def _options(self, node: ast.Call) -> Iterator[_Option]:
        for keyword in node.keywords:
            text = self._text(keyword.value)
            if text not in ("None", "[]", "{}", "False"):
                yield _Option(keyword.arg or "**", text, keyword.value.lineno)

    def _text(self, node: ast.expr) -> str:
        """The source of a value; that of a constant if the value is the name of one."""
        if isinstance(node, ast.Name) and isinstance(self.values.get(node.id), ast.Constant):
            node = self.values[node.id]
        return ast.unparse(node)

    def _flows(self, node: ast.expr, depth: int = 8) -> frozenset[str] | None:
        """The flows of this file that a value is; None if unknown."""
        match node:
            case ast.Name(id=name) if name in self.flows:
                return frozenset((name,))
            case ast.Name(id=name) if name in self.values and depth:
                return self._flows(self.values[name], depth - 1)
            case ast.Call(func=ast.Attribute(value=base, attr="with_options")):
                return self._flows(base, depth)
            case ast.Await(value=value):
                return self._flows(value, depth)
            case ast.Call(func=ast.Attribute(attr="from_source" | "afrom_source")):
                texts = [*node.args[1:], *(one.value for one in node.keywords)]
                for one in texts:
                    if isinstance(one, ast.Constant) and ":" in str(one.value):
                        return _flow_of_entrypoint(str(one.value), Path(self.file), self.flows)
        return None


def _flow_of_entrypoint(entrypoint: str, file: Path, flows: Collection[str]) -> frozenset[str]:
    path, _, name = entrypoint.rpartition(":")
    known = name in flows and Path(path).name == file.name
    return frozenset((name,) if known else ())


def _yaml_losses(file: Path, flows: Sequence[str]) -> Iterator[_Found]:
    """The deployments of the nearest ``prefect.yaml`` that are for a flow of ``file``."""
    real = file.resolve()
    for level, folder in enumerate(real.parents[: _PARENTS + 1]):
        path = folder / "prefect.yaml"
        if path.is_file():
            place = os.path.normpath(file.parent.joinpath(*[".."] * level, path.name))
            yield from _entries(path, place, real, flows)
            return


def _entries(path: Path, place: str, file: Path, flows: Sequence[str]) -> Iterator[_Found]:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        text = ""
    if file.name not in text:
        return
    for entry in _deployments(text):
        if entry is None:
            what = f"{place} mentions {file.name} and cannot be read"
            lost = Unsupported("deployment", "changed", what, "check its schedules and parameters")
            yield _Found(None, f"{place}:1", lost)
            return
        lines, values = entry
        source, _, name = str(values.get("entrypoint", "")).rpartition(":")
        if name not in flows or (path.parent / source).resolve() != file:
            continue
        title = f"the deployment {shown(values.get('name', name))}"
        options = [
            _Option(option, text, lines.get(option, lines[""]))
            for option, value in values.items()
            for text in _yaml_texts(option, value)
        ]
        for line, lost in _losses(title, lines[""], options):
            yield _Found(name, f"{place}:{line}", lost)


def _yaml_texts(option: str, value: Any) -> Iterator[str]:
    """The values of an option as a loss shows them, one per schedule."""
    if option == "schedules" and isinstance(value, list):
        yield from (_flat(one) for one in value if one)
    elif value not in (None, [], {}, False, ""):
        yield _flat(value)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {item!r}" for name, item in value.items()) + "}"
    return repr(value)


def _deployments(text: str) -> Iterator[tuple[dict[str, int], dict[str, Any]] | None]:
    """The lines of the keys (of the entry itself: ``""``) and the values; None if unreadable."""
    try:
        import yaml  # Airflow and Prefect depend on it; the core has it in the extra `yaml`
    except ImportError:
        yield None
        return
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        entries = dict(_items(root)).get("deployments")
        for node in getattr(entries, "value", ()) or ():
            values = loader.construct_document(node)
            if isinstance(node, yaml.MappingNode) and isinstance(values, dict):
                lines = {name: item.start_mark.line + 1 for name, item in _items(node)}
                yield {"": node.start_mark.line + 1, **lines}, values
    except (yaml.YAMLError, ValueError, RecursionError):
        yield None


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """The keys and value nodes of a mapping node."""
    if getattr(node, "id", "") == "mapping":
        yield from ((str(key.value), value) for key, value in node.value)
