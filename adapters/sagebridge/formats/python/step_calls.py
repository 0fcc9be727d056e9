"""Steps as the arguments of one call, for Airflow and Prefect files."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from sagebridge.authoring import public_names
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS
from sagebridge.formats.python.function_source import renamed
from sagebridge.formats.python.source_code import Expressions, Names, array, call, layout, source
from sagebridge.model.code_steps import CarriedStep, PythonStep, StubStep
from sagebridge.model.dependencies import HELPERS, Dependency
from sagebridge.model.display import free_name, printable
from sagebridge.model.for_each import MAX_BY, MIN_BY, ForEachStep, Selector
from sagebridge.model.functions import Function
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY, key_of

AIRFLOW_NAMES = (
    "DAG",
    "EventBridgeTimetable",
    "ForEachOperator",
    "Param",
    "PythonStepOperator",
    "ShellStepOperator",
    "StartPipelineOperator",
    "StepOperator",
    "StubOperator",
    "WatchOperator",
    "queue_asset",
    *public_names.__all__,
)
PREFECT_NAMES = (
    "Literal",
    "ThreadPoolTaskRunner",
    "begin",
    "finish",
    "flow",
    "python",
    "shell",
    "step",
    "stop_jobs",
    "stub",
    "sys",
    *public_names.__all__,
)
"""The names that a written file may import; no variable in it has one of them."""
_FILE_LINE = re.compile(r"[^/]+:[0-9]+$")
_LONGEST_COMMENT = 400


class Functions:
    """The functions of carried steps in a file, each once.

    A function keeps its name unless the file needs that name: for an import or a variable
    (``taken``), for another function, or for a builtin that another function uses.
    """

    def __init__(self, pipeline: Pipeline, taken: Collection[str]) -> None:
        steps = [step for step in walk(pipeline) if isinstance(step, PythonStep)]
        found: dict[str, Function] = {}
        for step in steps:
            found.setdefault(step.function.code, step.function)
        used = {code: _builtins_in(function) for code, function in found.items()}
        names = set(taken)
        self._functions: dict[str, Function] = {}
        for code, function in found.items():
            others = frozenset().union(*(used[other] for other in found if other != code))
            name = free_name(function.name, names | others)
            names.add(name)
            self._functions[code] = renamed(function, name)
        self.renamed = any(one.name != found[code].name for code, one in self._functions.items())

    @property
    def names(self) -> frozenset[str]:
        return frozenset(function.name for function in self._functions.values())

    def name(self, function: Function) -> ast.Name:
        return ast.Name(self._functions[function.code].name, ast.Load())

    def texts(self) -> Iterator[str]:
        """The source of each function."""
        for function in self._functions.values():
            yield function.text or function.code


def _builtins_in(function: Function) -> frozenset[str]:
    """The builtins that a function may use."""
    nodes = ast.walk(ast.parse(function.code))
    names = {node.id for node in nodes if isinstance(node, ast.Name)} - {function.name}
    return frozenset(names & vars(builtins).keys())


class StepSource:
    """The step calls of one file; ``expressions.defined`` grows with each step."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.expressions = Expressions(names)

    def carried(self, step: CarriedStep, functions: Functions) -> tuple[ast.expr, dict[str, Any]]:
        """The function or command of a carried step, and its other arguments that are not empty.

        For a stub, the first is the reason for it.
        """
        given = dict(step.arguments)
        if isinstance(step, PythonStep):
            what: ast.expr = functions.name(step.function)
            given = {name: value for name, value in given.items() if value}
        elif isinstance(step, StubStep):
            what = self.expressions.value(given.pop("reason"))
            given = {name: value for name, value in given.items() if value}
        else:
            what = self.expressions.value(given.pop("command"))
        return what, {name: self.expressions.value(value) for name, value in given.items()}

    def arguments(
        self, step: Step, branches: Mapping[str, ast.expr] | None = None
    ) -> dict[str, ast.expr]:
        """All arguments except the name; ``branches`` are if_steps and else_steps, if written."""
        value, row = self.expressions.value, OPERATOR_TYPES.get(step.type)
        extra = dict(step.extra)
        keywords: dict[str, ast.expr] = {}
        for argument, member in (row.members if row else {}).items():
            if member in extra:
                keywords[argument] = value(extra.pop(member))
        if isinstance(step, ConditionStep):
            if step.conditions is not ABSENT:
                keywords["conditions"] = array(map(self.expressions.condition, step.conditions))
        elif isinstance(step, ForEachStep):
            keywords |= self._for_each(step)
        if step.inner_fields:
            keywords.update(branches or {})
            if step.arguments is ABSENT or step.arguments != EMPTY:
                keywords["arguments"] = value(step.arguments)
        elif step.type == "Fail" and key_of(list(step.arguments or ())) == key_of(["ErrorMessage"]):
            keywords["error_message"] = value(step.arguments["ErrorMessage"])
        elif step.arguments is not ABSENT and not isinstance(step, CarriedStep):
            keywords["arguments"] = value(step.arguments)
        keywords.update(self._common(step))
        if extra:
            keywords["extra"] = value(extra)
        return keywords

    def _for_each(self, step: ForEachStep) -> dict[str, ast.expr]:
        own = {"items": step.items, "max_concurrency": step.max_concurrency}
        found = {
            name: self.expressions.value(value)
            for name, value in own.items()
            if value is not ABSENT
        }
        selector = step.selector
        if selector is not ABSENT:
            function = {MAX_BY: "max_by", MIN_BY: "min_by"}.get(selector.pick)
            if function and selector == Selector(selector.pick, selector.field):
                field = self.expressions.value(selector.field)
                found["selector"] = call(self.names.use(function), field)
            else:
                found["selector"] = self.record(selector)
        return found

    def _common(self, step: Step) -> Iterator[tuple[str, ast.expr]]:
        for argument in STEP_ARGUMENTS:
            if (found := getattr(step, argument.name)) is ABSENT:
                continue
            match argument.kind:
                case "steps":
                    yield argument.name, array(map(self._dependency, found))
                case "records":
                    yield argument.name, array(map(self.record, found))
                case "record":
                    yield argument.name, self.record(found)
                case "text":
                    yield argument.name, ast.Constant(found)

    def _dependency(self, item: str | Dependency) -> ast.expr:
        if isinstance(item, str):
            return self._step(item)
        if item.is_helper:
            return call(self.names.use(HELPERS[item.trigger]), self._step(item.step))
        return self.expressions.value(item.written())

    def _step(self, name: str) -> ast.expr:
        if name in self.expressions.defined:
            return self.expressions.step(name)
        return ast.Constant(name)

    def record(self, record: Any) -> ast.expr:
        """A small dataclass of the model as a call, without absent fields and defaults."""
        keywords = {}
        for field in fields(record):
            value = getattr(record, field.name)
            if value is ABSENT or (field.default is not MISSING and value == field.default):
                continue
            keywords[field.name] = self.expressions.value(value)
        return call(self.names.use(type(record).__name__), **keywords)


def commented(text: str, losses: Iterable[Loss]) -> str:
    """Source below one comment per loss."""
    return "\n".join((*dict.fromkeys(map(_comment, losses)), text))


def _comment(loss: Loss) -> str:
    """One line. Its text comes from definitions and user files, so nothing in it may end the line.

    Paths are left out, so that the file does not depend on where the source is.
    """
    line = _FILE_LINE.search(loss.place)
    text = f"{loss.what}; {loss.advice}" if loss.advice else loss.what
    text = printable(f"{text} ({line[0]})" if line else text)
    if len(text) > _LONGEST_COMMENT:
        text = f"{text[:_LONGEST_COMMENT]}..."
    return f"# sagebridge: {loss.code}: {text}"


def file_text(
    kind: str, pipeline: Pipeline, imports: Iterable[str], functions: Functions, body: str
) -> str:
    """A file: docstring, imports, functions of carried steps, body.

    The functions are not formatted: they keep the layout of their source.
    """
    origin = f" from {pipeline.origin}" if pipeline.origin else ""
    docstring = f"{pipeline.name or 'pipeline'}: {kind} generated by sagebridge{origin}."
    first = source(ast.Module([ast.Expr(ast.Constant(docstring))], []))
    head = "\n\n".join((first, "\n".join(imports)))
    own = [text.strip("\n") for text in functions.texts()]
    if not own:
        return layout(f"{head}\n\n{body}\n")
    return "\n\n\n".join((layout(head).strip("\n"), *own, layout(body)))


def import_from(module: str, names: Sequence[str]) -> str:
    """An import with its names in ruff's order: constants, classes, functions."""
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    return source(ast.ImportFrom(module, [ast.alias(name) for name in ordered], 0))


def indented(block: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in block.splitlines())
