"""A whole pipeline as a flow, for hand-written flows that call it as a subflow."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import Flow
from pydantic import Field

import sagebridge
from sagebridge.authoring.file_arguments import file_arguments
from sagebridge.authoring.flow_signature import FlowArgument, arguments_of, describe
from sagebridge.authoring.pipeline_builder import PipelineBuilder, legal_name
from sagebridge.errors import SagebridgeError, UsageError
from sagebridge.model.limits import FIELD_ARGUMENTS, is_portable
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import ABSENT, thaw
from sagebridge_operators.prefect.cancellation_hooks import stop_jobs
from sagebridge_operators.prefect.flow_run import current
from sagebridge_operators.prefect.step_functions import begin, finish

_TYPES: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
}
_BEGIN = frozenset(inspect.signature(begin).parameters) - {"definition", "pipeline", "more"}


def pipeline_flow(
    pipeline: str | Path | Pipeline | Any, *, name: str | None = None, **more: Any
) -> Flow[..., Any]:
    """A flow that runs a pipeline; call it in another flow, or deploy it.

    Its arguments are the pipeline's parameters, with their types and defaults. It returns what
    ``finish()`` returns, and the outputs of each step that succeeded::

        ages = pipeline_flow("ages.json", backend="local")

        @flow
        def nightly():
            result = ages(InputData=upload())
            report(result["outputs"]["Train"]["model_artifact"])

    Args:
        pipeline: a file with a definition or a CreatePipeline request, relative to the file that
            calls this function; a :class:`sagebridge.Pipeline`; or a pipeline of the SageMaker SDK.
        name: default: the name of the pipeline or of its file.
        more: arguments of ``begin``, such as ``backend`` and ``retries`` (of the steps), and
            options of ``@flow``, such as ``timeout_seconds``.

    Raises UsageError for a definition with errors.
    """
    source = pipeline
    if isinstance(source, str | Path):
        caller = inspect.stack(0)[1].filename
        source = Path(caller).parent / source
    read = _read(source)
    read = replace(read, name=name or read.name or "pipeline")
    arguments, details = arguments_of(read.declared)
    settings = {one: more.pop(one) for one in list(more) if one in _BEGIN}
    flow_name = legal_name(str(read.name))
    own = file_arguments(read, flow_name, ("PipelineDescription", "RoleArn"), details)
    settings = {**own, **settings}

    def run(**given: Any) -> Any:
        del given  # begin() and parameter() find them in the flow run
        begin(**settings)
        builder: Any = current()
        _declare(builder, read.steps)
        result = finish()
        if not isinstance(result, dict):
            return result
        return {**result, "outputs": builder.outputs()}

    run.__name__ = run.__qualname__ = flow_name
    run.__doc__ = "\n".join(
        (
            str(read.name if read.description is ABSENT else read.description),
            "",
            *describe(arguments),
        )
    )
    hints = {one.name: _hint(one) for one in arguments}
    signature = inspect.Signature([_parameter(one, hints[one.name]) for one in arguments])
    vars(run)["__signature__"] = signature
    # The reader of flow files finds it (formats/prefect/recording/pipeline_subflow.py).
    vars(run)["sagebridge_pipeline"] = read
    run.__annotations__ = hints
    hooks = {"on_cancellation": [stop_jobs], "on_crashed": [stop_jobs]}
    return Flow(run, **{"name": flow_name, **hooks, **more})


def _read(source: Any) -> Pipeline:
    """The pipeline of a source. Raises UsageError."""
    if isinstance(source, Pipeline):
        return source
    try:
        (checked,) = sagebridge.read_checked(
            str(source) if isinstance(source, Path) else source, "sagemaker"
        )
    except SagebridgeError as error:
        raise UsageError(str(error)) from None
    errors = [str(one) for one in checked.findings if one.severity == "error"]
    if errors:
        raise UsageError("; ".join(errors))
    name = checked.pipeline.name
    if isinstance(source, Path) and name is None:
        name = source.parent.name if source.name == "definition.json" else source.stem
    return replace(checked.pipeline, name=name)


def _declare(builder: PipelineBuilder, steps: Sequence[Step]) -> None:
    """Declares the steps, and those in their branches and bodies, in a running flow."""
    for step in steps:
        builder.add(step.with_inner(lambda inner: ()))
        for field in step.inner_fields:
            if inner := getattr(step, field):
                with builder.block(step.name, field):
                    _declare(builder, inner)


def _parameter(argument: FlowArgument, hint: Any) -> inspect.Parameter:
    default = argument.default
    return inspect.Parameter(
        argument.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is ABSENT else thaw(default),
        annotation=hint,
    )


def _hint(argument: FlowArgument) -> Any:
    """The annotation of an argument, with its choices and limits."""
    found, literal = _TYPES[argument.type], cast("Any", Literal)
    if argument.literal:
        found = literal[argument.choices]
    given: dict[str, Any] = {}
    schema: dict[str, Any] = {}  # checked by the server and by begin(), not by pydantic
    for keyword, limit in argument.limits.items():
        if keyword == "pattern" and not is_portable(limit):
            schema[keyword] = limit
        else:
            given[FIELD_ARGUMENTS[keyword]] = limit
    if argument.choices and not argument.literal:
        schema["enum"] = thaw(argument.choices)
    if schema:
        given["json_schema_extra"] = schema
    if given:
        found = Annotated[found, Field(**given)]
    return found | None if argument.nullable else found
