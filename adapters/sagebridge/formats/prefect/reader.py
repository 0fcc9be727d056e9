"""Read Prefect flow files, and the deployments of a ``prefect.yaml``.

A flow in the form that sagebridge writes, edited or not, is read from its source, without executing
it (:mod:`sagebridge.formats.prefect.source_interpreter`). A file with any other flow is traced:
its code is executed in a subprocess (:mod:`sagebridge.formats.prefect.tracer`).
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagebridge.authoring.flow_settings import (
    ENGINE_ARGUMENTS,
    FLOW_ARGUMENTS,
    read_settings,
)
from sagebridge.authoring.flow_signature import (
    SignatureArgument,
    read_descriptions,
    signature_argument,
)
from sagebridge.authoring.pipeline_builder import PipelineBuilder
from sagebridge.authoring.python_files import FlowFunction, flow_functions, split_source
from sagebridge.authoring.step_arguments import RETRIES, RETRY_DELAY
from sagebridge.authoring.task_settings import merged
from sagebridge.authoring.value_types import value_type_of_source
from sagebridge.errors import MissingExtra, ModelTypeError, PythonFileError, SourceError
from sagebridge.formats.prefect.constructs import FLOW_OPTIONS, TASK_OPTIONS, option_losses
from sagebridge.formats.prefect.deployment_calls import DeploymentCalls
from sagebridge.formats.prefect.deployment_file import (
    Entry,
    is_deployment_file,
    nearest_file,
    read_entries,
)
from sagebridge.formats.prefect.deployments import Deployment, as_deployed, with_deployments
from sagebridge.formats.prefect.importable_names import STOP_JOBS
from sagebridge.formats.prefect.live_server import SCHEME, readings
from sagebridge.formats.prefect.module_names import module_names
from sagebridge.formats.prefect.source_interpreter import (
    FlowSyntaxError,
    Interpreter,
    UnsupportedSyntax,
)
from sagebridge.formats.prefect.tracer import ORIGIN, trace_flows
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.file_readings import (
    FileReader,
    FileReading,
    check_nesting,
    missing,
    too_deep,
)
from sagebridge.formats.python.import_caller import effect_losses
from sagebridge.formats.python.source_comments import notes_of, source_text
from sagebridge.model.code_steps import CarriedStep, StubStep
from sagebridge.model.connections import PREFECT_ARGUMENTS
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge.model.values import ABSENT

_FLOW_OPTIONS = frozenset(ENGINE_ARGUMENTS) - set(FLOW_ARGUMENTS)
"""The options of ``@flow`` that are engine settings."""


def _read(file: str) -> Sequence[FileReading]:
    """The flows of a file, with the schedules and triggers of their deployments."""
    tree, flows = _flows(file)
    names = [one.entry for one in flows]
    calls = DeploymentCalls(file, tree, names)
    nearest, unreadable = _nearest(file)
    deployments = [*calls.deployments(), *nearest]
    lost = [*calls.losses(), *((None, place, one) for place, one in unreadable)]
    return [
        replace(
            found := with_deployments(one, deployments),
            losses=(
                *found.losses,
                *(why.at(place) for flow, place, why in lost if flow in (None, one.entry)),
            ),
        )
        for one in flows
    ]


def _own_flows(file: str) -> Sequence[FileReading]:
    """The flows of a file, without their deployments."""
    return _flows(file)[1]


def _flows(file: str) -> tuple[ast.Module, Sequence[FileReading]]:
    tree = _parse(file)
    found = [_read_source(file, tree, function) for function in flow_functions(tree)]
    if not found or None in found:
        found = _trace_others(file, found)
    flows = [one for one in found if one is not None]
    if not flows:
        fix = "decorate a function with Prefect's @flow"
        raise PythonFileError(file, None, "has no flow", fix)
    return tree, flows


def _nearest(file: str) -> tuple[list[Deployment], list[tuple[str, Unsupported]]]:
    """The deployments of the nearest ``prefect.yaml`` that are for a file; or why it is unread."""
    real, found = Path(file).resolve(), nearest_file(Path(file))
    if found is None or not _mentions(found[0], real.name):
        return [], []
    path, name = found
    try:
        entries = read_entries(path, name)
    except (SourceError, MissingExtra):
        what = f"{name} mentions {real.name} and cannot be read"
        lost = Unsupported("deployment", "changed", what, "check its schedules and parameters")
        return [], [(f"{name}:1", lost)]
    own = [one for one in entries if (path.parent / one.file).resolve() == real]
    return [one.deployment for one in own], []


def _mentions(path: Path, text: str) -> bool:
    try:
        return text in path.read_text("utf-8", "replace")
    except OSError:
        return False


def _deployed(file: str, wanted: str | None) -> Iterator[FileReading]:
    """The flows of a ``prefect.yaml`` as their deployments run them."""
    entries = read_entries(Path(file), file)
    if not entries:
        raise SourceError(file, "has no deployments")
    names = [one.deployment.name for one in entries]
    chosen = [one for one in entries if wanted in (None, one.deployment.name)]
    if not chosen:
        raise SourceError(file, f"has no deployment {wanted!r}", f"it has {', '.join(names)}")
    if wanted is not None and len(chosen) > 1:
        raise SourceError(file, f"has {len(chosen)} deployments named {wanted!r}", "rename one")
    read: dict[str, Sequence[FileReading]] = {}
    for entry in chosen:
        source = os.path.normpath(Path(file).parent / entry.file)
        if (error := missing(source)) is not None:
            place, title = entry.deployment.place, entry.deployment.title
            raise SourceError(place, f"the flow of {title}: {error}")
        if source not in read:
            read[source] = _flows(source)[1]
        flow = next((one for one in read[source] if one.entry == entry.function), None)
        if flow is None:
            what = f"{source} has no flow function {entry.function!r}"
            raise SourceError(entry.deployment.place, what)
        others = [
            one for one in entries if (one.file, one.function) == (entry.file, entry.function)
        ]
        yield _named(as_deployed(flow, entry.deployment), entry, alone=len(others) == 1)


def _named(reading: FileReading, entry: Entry, *, alone: bool) -> FileReading:
    """A deployment by its name. Several of one flow are several pipelines."""
    name, flow = entry.deployment.name or reading.name, reading.pipeline.name
    pipeline = reading.pipeline if alone else replace(reading.pipeline, name=f"{flow}-{name}")
    line = int(entry.deployment.place.rpartition(":")[2])
    return replace(reading, name=name, pipeline=pipeline, line=line, lines={})


def _reader(source: Any, *, own: bool = False) -> FileReader:
    """The reader of a source; ``own``: without the deployments of a flow file."""
    file, wanted = split_source(source)
    if file.startswith(SCHEME):
        return FileReader("deployment", lambda file: list(readings(file, _own_flows)))
    if is_deployment_file(file):
        return FileReader("deployment", lambda file: list(_deployed(file, wanted)))
    return FileReader("flow", _own_flows if own else _read)


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The only flow of a file or the named one, with the schedules of its deployments.

    A source is ``flow.py``, ``flow.py#NAME``, ``prefect.yaml``, ``prefect.yaml#DEPLOYMENT`` or
    ``prefect://FLOW/DEPLOYMENT``, a deployment on a server.

    Raises :class:`SourceError` and :class:`MissingExtra`; for a server also :class:`ServiceError`.
    """
    return _reader(source).read(source)


def read_all(source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """Like :func:`read`, all flows or deployments of a file in order."""
    return _reader(source).read_all(source)


def read_one(source: Any) -> FileReading:
    """Like :func:`read`, with the lines of the pipeline and its steps."""
    return _reader(source).read_one(source)


def flow_readings(file: str) -> Sequence[FileReading]:
    """The flows of a file, with the line of each step, without their deployments."""
    return _own_flows(file)


def read_own(source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """Like :func:`read_all`, with only the schedules that the flows state themselves.

    ``sagebridge deploy`` deploys these: others belong to other deployments.
    """
    return _reader(source, own=True).read_all(source)


def _read_source(file: str, tree: ast.Module, function: FlowFunction) -> FileReading | None:
    """None if the flow is not in the form that sagebridge writes."""
    try:
        return _read_flow(file, tree, function)
    except UnsupportedSyntax:
        return None


def _trace_others(file: str, found: Sequence[FileReading | None]) -> list[FileReading | None]:
    """The traced flows; those already read from the source are kept."""
    traced = trace_flows(Path(file))
    if len(traced) != len(found):
        return list(traced)
    return [read or other for read, other in zip(found, traced, strict=True)]


def _parse(file: str) -> ast.Module:
    if (error := missing(file)) is not None:
        raise error
    try:
        return ast.parse(Path(file).read_bytes(), file)
    except SyntaxError as wrong:
        raise PythonFileError(file, wrong.lineno, f"is not valid Python: {wrong.msg}") from None
    except OSError as wrong:
        raise PythonFileError(file, None, f"cannot be opened: {wrong.strerror}") from None
    except (ValueError, RecursionError, MemoryError) as wrong:
        raise PythonFileError(file, None, f"is not valid Python: {wrong}") from None


def _read_flow(file: str, tree: ast.Module, function: FlowFunction) -> FileReading:
    """One flow. Raises UnsupportedSyntax if it has to be traced, SourceError if it is invalid."""
    if isinstance(function, ast.AsyncFunctionDef) or len(function.decorator_list) != 1:
        raise UnsupportedSyntax(function, "an asynchronous flow or several decorators")
    options = _options(function)
    name = _constant(options.get("name"), function, re.sub("_", "-", function.name))
    description = _constant(
        options.get("description"), function, None, ast.get_docstring(tree, False)
    )
    arguments = _arguments(function)
    parameters = [one.parameter for one in arguments if one.parameter is not None]
    builder = PipelineBuilder(name, parameters, description)
    names = module_names(tree, builder)
    source = source_text(file)
    interpreter = Interpreter(builder, names, source)
    try:
        interpreter.flow(function)
        for step, line in interpreter.lines.items():
            if isinstance(made := builder.steps[step], CarriedStep):
                builder.steps[step] = replace(made, origin=f"{file}:{line}")
        notes = notes_of(source, function.lineno, interpreter.lines)
        pipeline = replace(builder.pipeline(), origin=ORIGIN, notes=notes)
    except FlowSyntaxError as fault:
        raise PythonFileError(file, fault.line, str(fault)) from None
    except ModelTypeError as error:
        raise PythonFileError(file, function.lineno, str(error)) from None
    except RecursionError:
        raise too_deep(file, function.lineno) from None
    check_nesting(file, function.lineno, pipeline.steps)
    limit = options.get("task_runner")
    if limit is not None:
        pipeline = replace(pipeline, parallelism=_parallelism(limit))
    pipeline = replace(pipeline, engine=_engine(pipeline.engine, options, interpreter))
    losses = [
        lost.at(f"{file}:{line}", target="sagemaker")
        for line, lost in (
            *_option_losses(options, names),
            *_argument_losses(function, arguments),
            *_settings(builder, interpreter, function),
        )
    ]
    losses += (
        Loss("stub", "dropped", step.origin, what, "sagemaker", "replace it with a step", step.name)
        for step in builder.steps.values()
        if isinstance(step, StubStep)
        for what in [f"{step.name} is a stub: {step.arguments['reason']}"]
    )
    losses += effect_losses(file, function.lineno, interpreter.lines, pipeline)
    return FileReading(
        name,
        pipeline,
        tuple(losses),
        function.lineno,
        interpreter.lines,
        entry=function.name,
        arguments=tuple(builder.parameters),
    )


def _options(function: FlowFunction) -> dict[str, ast.expr]:
    decorator = function.decorator_list[0]
    if not isinstance(decorator, ast.Call):
        return {}
    if decorator.args or any(keyword.arg is None for keyword in decorator.keywords):
        raise UnsupportedSyntax(decorator, "positional arguments of a decorator")
    return {str(keyword.arg): keyword.value for keyword in decorator.keywords}


def _constant(
    node: ast.expr | None, function: FlowFunction, default: Any, docstring: str | None = None
) -> Any:
    match node:
        case ast.Name(id="__doc__") if docstring is not None:
            return docstring
        case None:
            return default
        case ast.Constant(value=str() as text):
            return text
    raise UnsupportedSyntax(function, "a computed name or description")


def _parallelism(node: ast.expr) -> Parallelism:
    match node:
        case ast.Call(
            func=ast.Name(id="ThreadPoolTaskRunner"),
            args=[],
            keywords=[ast.keyword(arg="max_workers", value=ast.Constant(value=int() as limit))],
        ):
            return Parallelism(limit)
    raise UnsupportedSyntax(node, "a task runner other than ThreadPoolTaskRunner(max_workers=…)")


def _engine(
    begun: EngineSettings, options: dict[str, ast.expr], interpreter: Interpreter
) -> EngineSettings:
    """The settings of ``begin`` and of the decorator."""
    given: dict[str, Any] = {}
    for name in _FLOW_OPTIONS & options.keys():
        node = options[name]
        if name.startswith("on_"):
            hooks = node.elts if isinstance(node, ast.List) else [node]
            own = [one for one in hooks if not _is_stop_jobs(one, interpreter.module)]
            given[name] = interpreter.code(ast.List(own))
        else:
            given[name] = interpreter.value(node, {})
    return merged(begun, read_settings(given)[0])


def _option_losses(
    options: dict[str, ast.expr], names: Mapping[str, Any]
) -> Iterator[tuple[int, Unsupported]]:
    """Options of the decorator that only Prefect uses."""
    for name, node in options.items():
        text = ast.unparse(node)
        is_read = name == "task_runner" or name in _FLOW_OPTIONS
        if is_read or text in ("None", "[]", "0"):
            continue
        for lost in option_losses(FLOW_OPTIONS, [(name, text)]):
            yield node.lineno, lost._replace(what=f"the flow: {lost.what}")


def _argument_losses(
    function: FlowFunction, arguments: Sequence[SignatureArgument]
) -> Iterator[tuple[int, Unsupported]]:
    for node, argument in zip(
        (*function.args.args, *function.args.kwonlyargs), arguments, strict=True
    ):
        for code, severity, what, advice in argument.losses:
            yield node.lineno, Unsupported(code, severity, f"the flow: {what}", advice)


def _is_stop_jobs(node: ast.expr, names: Mapping[str, Any]) -> bool:
    return isinstance(node, ast.Name) and names.get(node.id) is STOP_JOBS


def _settings(
    builder: PipelineBuilder, interpreter: Interpreter, function: FlowFunction
) -> Iterator[tuple[int, Unsupported]]:
    """Settings of where steps run, which a definition does not have."""
    for step, settings in builder.settings.items():
        line = function.lineno if step is None else interpreter.lines.get(step, function.lineno)
        for name, value in settings.items():
            carried = name in PREFECT_ARGUMENTS or (step is None and name == "role_arn")
            if step is not None and name in (RETRIES, RETRY_DELAY):
                continue  # engine settings of the step
            if name in (RETRIES, RETRY_DELAY):
                given = [(name, repr(value))] if value else []
                for lost in option_losses(TASK_OPTIONS, given):
                    yield line, lost._replace(what=f"{step or 'all steps'}: {lost.what}")
            elif value is not None and not carried:
                what = (
                    f"{name} of {step or 'all steps'}: a definition does not record where steps run"
                )
                yield line, Unsupported("engine-option", "info", what)


def _arguments(function: FlowFunction) -> tuple[SignatureArgument, ...]:
    """The arguments of the signature, which become pipeline parameters."""
    given = function.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise UnsupportedSyntax(function, "*args, **kwargs or positional-only arguments")
    texts = read_descriptions(ast.get_docstring(function))
    defaults: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
    pairs = zip(
        (*given.args, *given.kwonlyargs),
        (*defaults, *given.defaults, *given.kw_defaults),
        strict=True,
    )
    return tuple(_argument(one, default, texts.get(one.arg, "")) for one, default in pairs)


def _argument(argument: ast.arg, default: ast.expr | None, description: str) -> SignatureArgument:
    type_ = value_type_of_source(argument.annotation)
    value = ABSENT if default is None else _literal(default)
    if type_ is not None:
        found = signature_argument(argument.arg, type_, value, description)
        if found.parameter is not None:
            return found
    raise UnsupportedSyntax(argument, "an argument that is not a string, number or boolean")


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        raise UnsupportedSyntax(node, "a computed default") from None
