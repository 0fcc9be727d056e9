"""Calls that deploy a flow: ``serve``, ``deploy`` and ``to_deployment``.

The file is parsed, not executed, so calls below ``if __name__ == "__main__":`` count too.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from sagebridge.formats.prefect.call_values import SourceValues, UnknownValue, assigned_once
from sagebridge.formats.prefect.constructs import DEPLOYMENT_OPTIONS, option_losses
from sagebridge.formats.prefect.deployments import UNKNOWN, Deployment, Option
from sagebridge.formats.python.engine_losses import Unsupported

_METHODS = frozenset(("serve", "deploy", "to_deployment", "adeploy", "ato_deployment"))
_FUNCTIONS = frozenset(("serve", "aserve", "deploy", "adeploy"))
_TIMES = frozenset(("cron", "interval", "rrule"))
_SCHEDULES = _TIMES | {"schedule", "schedules"}
_ONLY_PREFECT = _SCHEDULES | {"work_pool_name", "job_variables", "entrypoint_type"}
"""Arguments that only a deployment of Prefect has."""


class DeploymentCalls:
    """The calls that deploy flows, anywhere in a file."""

    def __init__(self, file: str, tree: ast.Module, flows: Sequence[str]) -> None:
        self.file, self.tree, self.flows = file, tree, frozenset(flows)
        self.names = assigned_once(tree)
        self.values = SourceValues(self.names)
        self.imported: set[str] = set()
        self.modules: set[str] = set()
        for node in ast.walk(tree):
            match node:
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

    def deployments(self) -> Iterator[Deployment]:
        """The deployments, in the order of the calls."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
            match node.func:
                case ast.Attribute(value=base, attr=name) if (
                    name in _METHODS and not self._is_joint(node)
                ):
                    flows = self._flows(base)
                    if flows is None and _ONLY_PREFECT.isdisjoint(one.arg for one in node.keywords):
                        continue
                    for flow in (None,) if flows is None else sorted(flows):
                        yield self._deployment(node, flow, name)

    def losses(self) -> Iterator[tuple[str | None, str, Unsupported]]:
        """The losses of other calls: the flow function, or None for every flow, and the place."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in self.flows:
                    for lost in self._direct_call(node):
                        yield name, self._place(node), lost
                case ast.Call() if name := self._is_joint(node):
                    for option in self._options(node):
                        given = [(option.name, option.text)]
                        for lost in option_losses(DEPLOYMENT_OPTIONS, given):
                            yield None, option.place, lost._replace(what=f"{name}(): {lost.what}")

    def _is_joint(self, node: ast.Call) -> str:
        """The function in ``serve(a.to_deployment(…), …, limit=3)``, otherwise empty."""
        match node.func:
            case ast.Name(id=name) if name in self.imported:
                return name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (
                module in self.modules and name in _FUNCTIONS
            ):
                return name
        return ""

    def _direct_call(self, node: ast.Call) -> Iterator[Unsupported]:
        """``main(day="…")`` outside every function, as below ``if __name__ == "__main__":``.

        Values of the command line, as in written files, are values that an execution is given.
        """
        given = [*node.args, *(one.value for one in node.keywords)]
        from_command = any("sys.argv" in ast.unparse(one) for one in given)
        if given and not from_command and not self._inside_function(node):
            what = f"the file itself runs {ast.unparse(node)}, which is not carried over"
            yield Unsupported("engine-option", "info", what, "pass these values to an execution")

    def _inside_function(self, node: ast.AST) -> bool:
        functions = (
            one
            for one in ast.walk(self.tree)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        )
        return any(node is inner for one in functions for inner in ast.walk(one))

    def _deployment(self, node: ast.Call, flow: str | None, method: str) -> Deployment:
        options = list(self._options(node))
        if node.args:
            options.insert(0, self._option("name", node.args[0]))
        name = next((one for one in options if one.name == "name"), None)
        default = flow if method == "serve" and name is None and flow else ""
        return Deployment(
            name.value if name and isinstance(name.value, str) else default,
            flow,
            self._place(node),
            schedules=tuple(self._schedules(node, options)),
            triggers=tuple(self._each(node, "triggers")),
            options=tuple(one for one in options if one.name not in (*_SCHEDULES, "triggers")),
        )

    def _schedules(self, node: ast.Call, options: Sequence[Option]) -> Iterator[Option]:
        """One option per schedule; several values of ``cron`` and so on are several schedules."""
        for option in options:
            if option.name in _TIMES:
                values = option.value if isinstance(option.value, list) else [option.value]
                for value in values:
                    known = value is not UNKNOWN
                    given = {option.name: value} if known else UNKNOWN
                    text = option.text if len(values) == 1 else f"{value!r}"
                    yield Option("schedule", given, f"{option.name}={text}", option.place)
            elif option.name == "schedule":
                yield option
        yield from self._each(node, "schedules")

    def _each(self, node: ast.Call, name: str) -> Iterator[Option]:
        """The items of a list, each on its own line."""
        for keyword in node.keywords:
            if keyword.arg != name:
                continue
            given = keyword.value
            if isinstance(given, ast.Name):
                given = self.names.get(given.id, given)
            if isinstance(given, ast.List | ast.Tuple):
                yield from (self._option(name, one) for one in given.elts)
            elif not _is_empty(given):
                yield self._option(name, given)

    def _options(self, node: ast.Call) -> Iterator[Option]:
        for keyword in node.keywords:
            option = self._option(keyword.arg or "**", keyword.value)
            if not _is_empty(keyword.value) and option.value is not None:
                yield option

    def _option(self, name: str, node: ast.expr) -> Option:
        value = self._value(node)
        if isinstance(value, dict) and isinstance(inner := value.get("schedule"), dict):
            value = {**inner, **{key: one for key, one in value.items() if key != "schedule"}}
        if isinstance(node, ast.Name) and isinstance(self.names.get(node.id), ast.Constant):
            node = self.names[node.id]
        return Option(name, value, ast.unparse(node), f"{self.file}:{node.lineno}")

    def _value(self, node: ast.expr) -> Any:
        try:
            return self.values.value(node)
        except (UnknownValue, RecursionError):
            return UNKNOWN

    def _place(self, node: ast.AST) -> str:
        return f"{self.file}:{getattr(node, 'lineno', 1)}"

    def _flows(self, node: ast.expr, depth: int = 8) -> frozenset[str] | None:
        """The flows of this file that a value is; None if unknown."""
        match node:
            case ast.Name(id=name) if name in self.flows:
                return frozenset((name,))
            case ast.Name(id=name) if name in self.names and depth:
                return self._flows(self.names[name], depth - 1)
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


def _is_empty(node: ast.expr) -> bool:
    return ast.unparse(node) in ("None", "[]", "{}", "()", "False")


def _flow_of_entrypoint(entrypoint: str, file: Path, flows: Collection[str]) -> frozenset[str]:
    path, _, name = entrypoint.rpartition(":")
    known = name in flows and Path(path).name == file.name
    return frozenset((name,) if known else ())
