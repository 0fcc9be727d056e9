"""Steps as the arguments of one call, for Airflow and Prefect files."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from sagebridge.authoring import public_names
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS
from sagebridge.formats.python.carried_modules import (
    CarriedModules,
    identity,
    merged_imports,
    position_of,
    statements,
)
from sagebridge.formats.python.engine_imports import for_engine
from sagebridge.formats.python.function_source import renamed
from sagebridge.formats.python.source_code import (
    Expressions,
    Names,
    array,
    attribute,
    call,
    layout,
    source,
)
from sagebridge.formats.python.statement_text import blank_lines, joined, sorted_imports
from sagebridge.model.code_steps import AwsCallStep, CarriedStep, PythonStep, StubStep
from sagebridge.model.dependencies import HELPERS, Dependency
from sagebridge.model.display import free_name, printable
from sagebridge.model.for_each import MAX_BY, MIN_BY, ForEachStep, Selector
from sagebridge.model.functions import Function
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.pointers import losses_by_step
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY, key_of

AIRFLOW_NAMES = (
    "AwsCallOperator",
    "DAG",
    "EventBridgeTimetable",
    "FlowHook",
    "ForEachOperator",
    "Param",
    "PythonStepOperator",
    "ShellStepOperator",
    "StartPipelineOperator",
    "StepOperator",
    "StubOperator",
    "TaskGroup",
    "WatchOperator",
    "queue_asset",
    "timedelta",
    *public_names.__all__,
)
PREFECT_NAMES = (
    "Literal",
    "ThreadPoolTaskRunner",
    "aws_call",
    "begin",
    "finish",
    "flow",
    "pipeline_flow",
    "python",
    "register_lambda",
    "shell",
    "step",
    "stop_jobs",
    "stub",
    "sys",
    *public_names.__all__,
)
"""The names that a written file may import; no variable in it has one of them."""
NESTED_BLOCKS = 8
"""Nested ``with`` blocks of steps; deeper branches are written in another way.

CPython compiles at most 20 nested blocks (CO_MAXBLOCKS in Include/cpython/code.h), and a deeper
one leaves no room for its lines.
"""
_FILE_LINE = re.compile(r"[^/]+:[0-9]+$")
_LONGEST_COMMENT = 400


class Functions:
    """The functions that a file calls, each once.

    A function without a module keeps its name unless the file needs that name: for an import or a
    variable (``taken``), for another function, or for a builtin that another function uses. A
    function with its module keeps its name.
    """

    def __init__(self, pipeline: Pipeline, taken: Collection[str], engine: str) -> None:
        functions = list(_functions_of(pipeline))
        self.order = {name: position for position, name in enumerate(pipeline.notes.names)}
        self.modules = CarriedModules.of(functions, engine, self.order)
        self.libraries: dict[str, dict[str, None]] = {}
        found: dict[str, Function] = {}
        for one in functions:
            if one.imported_from:
                self.libraries.setdefault(one.imported_from, {})[one.name] = None
            elif not one.module and one.code and one.code not in self.modules.tasks:
                found.setdefault(one.code, one)
        used = {code: _builtins_in(function) for code, function in found.items()}
        library_names = frozenset().union(*self.libraries.values())
        names = {*taken, *self.modules.bound, *library_names}
        self._functions: dict[str, Function] = {}
        for code, function in found.items():
            others = frozenset().union(*(used[other] for other in found if other != code))
            name = free_name(function.name, names | others)
            names.add(name)
            own = renamed(function, name)
            code_here, text = for_engine(own.code, engine), for_engine(own.text, engine)
            self._functions[code] = replace(own, code=code_here, text=text)
        self.renamed = any(one.name != found[code].name for code, one in self._functions.items())

    @property
    def names(self) -> frozenset[str]:
        """All names that are functions or their modules' names."""
        alone = (function.name for function in self._functions.values())
        return self.modules.bound.union(alone, *self.libraries.values())

    def foreign(self, imported: Mapping[str, str], package: str) -> frozenset[str]:
        """The names of carried modules that generated code may want to import.

        ``imported`` has the module of each generated import other than those of ``package``.
        """
        same = {
            name
            for name, (module, original) in self.modules.imported.items()
            if module == imported.get(name, package) and original in (name, "")
        }
        return self.modules.bound - same

    def name(self, function: Function) -> ast.expr:
        if function.imported_from:
            clash = function.name in self.modules.bound
            return ast.Name(f"sagebridge_{function.name}" if clash else function.name, ast.Load())
        tasks = self.modules.tasks
        if function.module:
            name = self.modules.names[identity(function)]
        elif not function.code:  # a builtin
            name = function.name
        else:
            name = tasks.get(function.code) or self._functions[function.code].name
        found = ast.Name(name, ast.Load())
        return attribute(found, "fn") if name in tasks.values() else found

    def imports(self) -> Iterator[str]:
        """The imports of library functions."""
        for library in sorted(self.libraries):
            yield import_from(library, list(self.libraries[library]), self.modules.bound)

    @cached_property
    def parameters(self) -> Mapping[str, Sequence[str]]:
        """The parameters of each function in the file."""
        nodes = [node for text in self.texts() for node in ast.parse(text).body]
        functions = [one for one in nodes if isinstance(one, ast.FunctionDef)]
        return {one.name: [it.arg for it in one.args.args] for one in functions}

    def texts(self) -> list[str]:
        """The statements between the imports and the DAG or flow."""
        result = list(self.modules.rest)
        last = len(self.order)
        for function in self._functions.values():
            own = self.order.get(function.name, last)
            places = (position_of(one, self.order) for one in result)
            at = next((at for at, place in enumerate(places) if own < place), len(result))
            result.insert(at, function.text or function.code)
        return result


def carried_names(pipeline: Pipeline) -> frozenset[str]:
    """The names of functions that keep them: those that are carried with their module."""
    return frozenset(one.name for one in _functions_of(pipeline) if one.module or one.imported_from)


def _functions_of(pipeline: Pipeline) -> Iterator[Function]:
    for step in walk(pipeline):
        if isinstance(step, PythonStep):
            yield step.function
        yield from (hook.function for hook in step.engine.hooks)
    yield from (hook.function for hook in pipeline.engine.hooks)


def _builtins_in(function: Function) -> frozenset[str]:
    """The builtins that a function may use."""
    nodes = ast.walk(ast.parse(function.code))
    names = {node.id for node in nodes if isinstance(node, ast.Name)} - {function.name}
    return frozenset(names & vars(builtins).keys())


def absent_arguments(names: Names) -> dict[str, ast.expr]:
    """The arguments of all steps, with the value of one that is not given."""
    optional = (one.name for one in STEP_ARGUMENTS[2:] if one.default is ABSENT)
    return dict.fromkeys(optional, names.fixed("ABSENT"))


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
            what = functions.name(step.function)
            given = {name: value for name, value in given.items() if value not in ((), {})}
            given |= {"role": step.role} if step.role else {}
            given |= {"context": True} if step.context else {}
        elif isinstance(step, StubStep):
            what = self.expressions.value(given.pop("reason"))
            given = {name: value for name, value in given.items() if value}
        elif isinstance(step, AwsCallStep):
            what = self.expressions.value(given.pop("service"))
        else:
            what = self.expressions.value(given.pop("command"))
        return what, {name: self.expressions.value(value) for name, value in given.items()}

    def settings(
        self, given: Iterable[tuple[str, Any]], functions: Functions
    ) -> Iterator[tuple[str, ast.expr]]:
        """Engine settings as arguments; values are also times and lists of functions."""
        for name, value in given:
            if isinstance(value, timedelta):
                seconds = value.total_seconds()
                whole = int(seconds) if seconds == int(seconds) else seconds
                yield name, call(self.names.use("timedelta"), seconds=ast.Constant(whole))
            elif isinstance(value, list) and value and isinstance(value[0], Function):
                yield name, array(map(functions.name, value))
            else:
                yield name, self.expressions.value(value)

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


def comments_of(pipeline: Pipeline, losses: Iterable[Loss]) -> dict[str, list[str]]:
    """The comments on each step: those of its source, and one per loss; ``""``: the pipeline."""
    found = {
        name: [f"# {printable(one.lstrip('# '))}" for one in lines]
        for name, lines in pipeline.notes.comments.items()
    }
    for name, own in losses_by_step(pipeline, losses).items():
        found.setdefault(name, []).extend(dict.fromkeys(map(comment_of, own)))
    return found


def comment_of(loss: Loss) -> str:
    """The comment on a loss: one line.

    Its text comes from definitions and user files, so nothing in it may end the line. Paths are
    left out, so that the file does not depend on where the source is.
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
    """A file: docstring, imports, code of carried steps, body.

    Carried code is not formatted: it keeps the layout of its source.
    """
    origin = f" from {pipeline.origin}" if pipeline.origin else ""
    generated = f"{pipeline.name or 'pipeline'}: {kind} generated by sagebridge{origin}."
    docstring = pipeline.notes.docstring or generated
    first = source(ast.Module([ast.Expr(ast.Constant(docstring))], []))
    if pipeline.notes.docstring:
        first += f"\n# {printable(generated)}"
    own = functions.texts()
    every = [*functions.modules.imports, *imports, *functions.imports()]
    needed = sorted_imports(merged_imports(every))
    if not own:
        return f"{first}\n\n" + layout(f"{joined(needed)}\n\n{body}\n")
    head = f"{first}\n\n" + layout(joined(needed))
    gap = "\n" * (1 + blank_lines(statements(head)[-1], own[0]))
    return head.strip("\n") + gap + joined(own) + "\n\n\n" + layout(body)


def description_of(pipeline: Pipeline) -> ast.expr:
    """The description of a pipeline; ``__doc__`` if it is the docstring of its file."""
    docstring = pipeline.notes.docstring
    if docstring and pipeline.description == docstring:
        return ast.Name("__doc__", ast.Load())
    return ast.Constant(str(pipeline.description))


def import_from(module: str, names: Sequence[str], foreign: Collection[str] = ()) -> str:
    """An import with its names in ruff's order: constants, classes, functions."""
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    aliases = [ast.alias(one, f"sagebridge_{one}" if one in foreign else None) for one in ordered]
    return source(ast.ImportFrom(module, aliases, 0))
