"""Prefect flow files to the model.

A flow of our own form, edited by a person or not, is read from its source and nothing is executed
(:mod:`sagebridge.formats.prefect.source_interpreter`); a file with any other flow is traced, which
executes its code in a subprocess (:mod:`sagebridge.formats.prefect.tracer`).
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagebridge.authoring.flow_signature import TYPES, Argument, read_descriptions
from sagebridge.authoring.pipeline_builder import Draft
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.prefect.flow_names import STOP_JOBS
from sagebridge.formats.prefect.module_names import module_names
from sagebridge.formats.prefect.source_interpreter import Fault, Interpreter, UnsupportedSyntax
from sagebridge.formats.prefect.tracer import ORIGIN, trace_flows
from sagebridge.formats.prefect.tracing.flow_options import hooked, retried, timed
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.file_readings import (
    FileReading,
    PythonFileError,
    chosen,
    findings,
    missing,
    only,
    split,
)
from sagebridge.formats.sagemaker.validator import unreadable
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge.model.values import ABSENT, Value

_SAID = frozenset(("name", "description", "task_runner"))
_LOST = {"retries": retried, "timeout_seconds": timed}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of the one flow of a file, or of the one that ``file.py#flow`` names.

    Raises :class:`SourceError` that names the flows where there are several, or says why the file
    cannot be read.
    """
    found = read_one(source)
    return found.pipeline, found.losses


def read_all(source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipelines of all flows of a file, in its order."""
    file, wanted = split(source)
    return [(one.pipeline, one.losses) for one in _read(file, wanted)]


def validate(source: Any) -> tuple[Finding, ...]:
    """The findings of the pipeline that a file makes, at the lines of its flow and steps."""
    try:
        found = read_one(source)
    except SourceError as error:
        return (unreadable(error),)
    return tuple(findings(found))


def read_one(source: Any) -> FileReading:
    """As :func:`read`, with what the file calls the flow."""
    file, wanted = split(source)
    return only(file, _read(file, wanted), "flow")


def _read(file: str, wanted: str | None) -> Sequence[FileReading]:
    tree = _parsed(file)
    found = [_of_our_form(file, tree, function) for function in flows(tree)]
    if not found or None in found:
        found = _traced(file, found)
    readings = [one for one in found if one is not None]
    if not readings:
        fix = "decorate a function of the file with Prefect's @flow"
        raise PythonFileError(file, None, "holds no flow", fix)
    return chosen(file, wanted, readings, "flow")


def _of_our_form(file: str, tree: ast.Module, function: Function) -> FileReading | None:
    """None where the flow says more than our form does."""
    try:
        return _reading(file, tree, function)
    except UnsupportedSyntax:
        return None


def _traced(file: str, found: Sequence[FileReading | None]) -> list[FileReading | None]:
    """The flows as tracing gives them; what was read from the source stays as it was read."""
    traced = trace_flows(Path(file))
    if len(traced) != len(found):
        return list(traced)
    return [read or other for read, other in zip(found, traced, strict=True)]


def _parsed(file: str) -> ast.Module:
    if (error := missing(file)) is not None:
        raise error
    try:
        return ast.parse(Path(file).read_bytes(), file)
    except SyntaxError as wrong:
        raise PythonFileError(file, wrong.lineno, f"is no Python: {wrong.msg}") from None
    except OSError as wrong:
        raise PythonFileError(file, None, f"cannot be opened: {wrong.strerror}") from None
    except (ValueError, RecursionError, MemoryError) as wrong:
        raise PythonFileError(file, None, f"is no Python: {wrong}") from None


def _text(file: str) -> str:
    with tokenize.open(file) as source:
        return source.read()


def flows(tree: ast.Module) -> Iterator[Function]:
    """The functions of a file that Prefect's ``@flow`` decorates."""
    names = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module in ("prefect", "prefect.flows")
        for alias in node.names
        if alias.name == "flow"
    }
    modules = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "prefect"
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            _is_flow(decorator, names, modules) for decorator in node.decorator_list
        ):
            yield node


def _is_flow(node: ast.expr, names: set[str], modules: set[str]) -> bool:
    match node.func if isinstance(node, ast.Call) else node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(value=ast.Name(id=module), attr="flow"):
            return module in modules
    return False


def _reading(file: str, tree: ast.Module, function: Function) -> FileReading:
    """One flow. Raises UnsupportedSyntax beyond our form, SourceError if it is wrong."""
    if isinstance(function, ast.AsyncFunctionDef) or len(function.decorator_list) != 1:
        raise UnsupportedSyntax(function, "an asynchronous flow, or one with several decorators")
    options = _options(function)
    name = _constant(options.get("name"), function, re.sub("_", "-", function.name))
    description = _constant(options.get("description"), function, None)
    draft = Draft(name, _arguments(function), description)
    names = module_names(tree, draft, _text(file))
    interpreter = Interpreter(draft, names)
    try:
        interpreter.flow(function)
        for step, line in interpreter.lines.items():
            if isinstance(made := draft.steps[step], CarriedStep):
                draft.steps[step] = replace(made, origin=f"{file}:{line}")
        pipeline = replace(draft.pipeline(), origin=ORIGIN)
    except Fault as fault:
        raise PythonFileError(file, fault.line, str(fault)) from None
    limit = options.get("task_runner")
    if limit is not None:
        pipeline = replace(pipeline, parallelism=_parallelism(limit))
    losses = (
        Loss(lost.code, lost.severity, f"{file}:{line}", lost.what, "sagemaker", lost.advice)
        for line, lost in (*_unsaid(options, names), *_settings(draft, interpreter, function))
    )
    return FileReading(
        name,
        pipeline,
        tuple(losses),
        function.lineno,
        interpreter.lines,
        entry=function.name,
        arguments=tuple(draft.parameters),
    )


def _options(function: Function) -> dict[str, ast.expr]:
    decorator = function.decorator_list[0]
    if not isinstance(decorator, ast.Call):
        return {}
    if decorator.args or any(keyword.arg is None for keyword in decorator.keywords):
        raise UnsupportedSyntax(decorator, "a decorator with other than named arguments")
    return {str(keyword.arg): keyword.value for keyword in decorator.keywords}


def _constant(node: ast.expr | None, function: Function, default: Any) -> Any:
    match node:
        case None:
            return default
        case ast.Constant(value=str() as text):
            return text
    raise UnsupportedSyntax(function, "a name or description that is computed")


def _parallelism(node: ast.expr) -> Parallelism:
    match node:
        case ast.Call(
            func=ast.Name(id="ThreadPoolTaskRunner"),
            args=[],
            keywords=[ast.keyword(arg="max_workers", value=ast.Constant(value=int() as limit))],
        ):
            return Parallelism(limit)
    raise UnsupportedSyntax(node, "a task runner other than ThreadPoolTaskRunner(max_workers=…)")


def _unsaid(
    options: dict[str, ast.expr], names: Mapping[str, Any]
) -> Iterator[tuple[int, Unsupported]]:
    """What the decorator says to Prefect alone, in the words of a flow that is traced."""
    for name, node in options.items():
        text = ast.unparse(node)
        if name in _SAID or text in ("None", "[]", "0") or _stops_jobs(node, names):
            continue
        if name.startswith("on_"):
            lost = hooked(name)
        elif name in _LOST:
            lost = _LOST[name](text)
        else:
            lost = Unsupported(
                "engine-option", "info", f"{name}={text}: only Prefect has a use for it"
            )
        yield node.lineno, lost._replace(what=f"the flow: {lost.what}")


def _stops_jobs(node: ast.expr, names: Mapping[str, Any]) -> bool:
    match node:
        case ast.List(elts=[ast.Name(id=hook)]):
            return names.get(hook) is STOP_JOBS
    return False


def _settings(
    draft: Draft, interpreter: Interpreter, function: Function
) -> Iterator[tuple[int, Unsupported]]:
    """Where steps run, which a definition does not say."""
    for step, settings in draft.settings.items():
        line = function.lineno if step is None else interpreter.lines.get(step, function.lineno)
        for name, value in settings.items():
            if value is not None and not (step is None and name == "role_arn"):
                what = f"{name} of {step or 'all steps'}: a definition does not say where it runs"
                yield line, Unsupported("engine-option", "info", what)


def _arguments(function: Function) -> tuple[Argument, ...]:
    """The arguments of the signature that a pipeline parameter can be."""
    given = function.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise UnsupportedSyntax(function, "arguments that are not all named")
    texts = read_descriptions(ast.get_docstring(function))
    defaults: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
    pairs = zip(
        (*given.args, *given.kwonlyargs),
        (*defaults, *given.defaults, *given.kw_defaults),
        strict=True,
    )
    return tuple(_argument(one, default, texts.get(one.arg, "")) for one, default in pairs)


def _argument(argument: ast.arg, default: ast.expr | None, description: str) -> Argument:
    value: Value = ABSENT if default is None else _literal(default)
    choices: tuple[Value, ...] = ()
    match argument.annotation:
        case None:
            type_ = "str" if value is ABSENT else type(value).__name__
        case ast.Name(id=name) | ast.Constant(value=str() as name):
            type_ = name
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = tuple(
                _literal(one)
                for one in (inside.elts if isinstance(inside, ast.Tuple) else [inside])
            )
            kinds = {type(choice).__name__ for choice in choices}
            type_ = kinds.pop() if len(kinds) == 1 else ""
        case _:
            type_ = ""
    if type_ not in TYPES:
        raise UnsupportedSyntax(argument, "an argument that is no text, number or boolean")
    return Argument(argument.arg, type_, value, choices, description)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        raise UnsupportedSyntax(node, "a default that is computed") from None
