"""A call of a ``pipeline_flow``: the steps of its pipeline become steps of the flow."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagebridge.authoring.flow_signature import arguments_of
from sagebridge.authoring.pipeline_builder import CURRENT, PipelineBuilder
from sagebridge.authoring.step_arguments import RETRIES, RETRY_DELAY
from sagebridge.authoring.step_outputs import output_property
from sagebridge.formats.prefect.recording.symbols import (
    NotFollowed,
    RunTimeValueUsed,
    Symbol,
    UnsupportedValue,
    definition_value,
)
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get, references
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline, Step, Steps, walk
from sagebridge.model.step_names import with_step_names
from sagebridge.model.values import ABSENT, EMPTY, Value, freeze

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace

_ATTRIBUTE = "sagebridge_pipeline"
"""The attribute of the function of a ``pipeline_flow`` with its pipeline, as it was read."""
_NOT_CARRIED = ("backend", RETRIES, RETRY_DELAY)
"""Settings of all steps that no pipeline has."""


class PipelineResult:
    """The result of a call; of its values, only outputs that are properties of steps are known.

    ``steps`` are those of the group, by their names in the pipeline. Not a dataclass: code of the
    flow could contain one.
    """

    def __init__(self, steps: Mapping[str, Step], path: tuple[object, ...] = ()) -> None:
        self._steps, self._path = steps, path

    def __getitem__(self, key: object) -> Any:
        path = (*self._path, key)
        match path:
            case ("outputs",):
                return PipelineResult(self._steps, path)
            case ("outputs", str(name), *keys) if name in self._steps:
                if keys in ([], ["outputs"]):
                    return PipelineResult(self._steps, path)
                if (found := output_property(self._steps[name], keys)) is not None:
                    return Symbol(found)
        raise RunTimeValueUsed


def is_pipeline_flow(flow: Any) -> bool:
    return hasattr(flow.fn, _ATTRIBUTE)


def pipeline_of(flow: Any) -> tuple[Pipeline, tuple[str, ...]]:
    """The pipeline of a ``pipeline_flow``, and its settings that are lost."""
    read: Pipeline = getattr(flow.fn, _ATTRIBUTE)
    description = read.description if isinstance(read.description, str) else None
    builder = PipelineBuilder(flow.name, arguments_of(read.declared)[0], description)
    reset = CURRENT.set(builder)
    try:
        flow.fn()  # declares settings and steps
    finally:
        CURRENT.reset(reset)
    given = builder.settings.get(None, {})
    return builder.pipeline(), tuple(one for one in _NOT_CARRIED if given.get(one))


def add_pipeline(
    trace: FlowTrace, flow: Any, arguments: Sequence[Any], named: Mapping[str, Any]
) -> PipelineResult:
    """Add the steps of a call to the open group. Raises :class:`NotFollowed`."""
    pipeline, lost = pipeline_of(flow)
    if any(isinstance(step, CarriedStep) for step in walk(pipeline)):
        raise NotFollowed(trace.line(), f"the pipeline of {flow.name!r} has steps of code")
    if pipeline.role_arn is not ABSENT:
        lost = (*lost, "role_arn")
    if pipeline.experiment_config not in (ABSENT, None):
        lost = (*lost, "PipelineExperimentConfig")
    if lost:
        what = f"subflow {shown(flow.name)}: these settings have no effect: {', '.join(lost)}"
        trace.report("subflow", "changed", what, "set it in begin() of this flow")
    values = _values(trace, flow, pipeline, arguments, named)

    def change(node: Value) -> Value:
        is_given = isinstance(node, Get) and node.root == "Parameters"
        return values.get(node.name, node) if is_given else node

    def with_values(step: Step) -> Step:
        step = step.replaced(change).with_inner(lambda inner: tuple(map(with_values, inner)))
        if isinstance(step, ForEachStep) and isinstance(step.items, str):
            with suppress(ValueError):
                return replace(step, items=freeze(json.loads(step.items)))
        return step

    names = {step.name: trace.name(f"{trace.groups[-1]}-{step.name}") for step in walk(pipeline)}
    steps = map(with_values, with_step_names(pipeline.steps, names))
    connections = {names[name]: one for name, one in pipeline.connections.items()}
    _declare(trace, tuple(steps), connections)
    return PipelineResult({name: trace.state.steps[own] for name, own in names.items()})


def _values(
    trace: FlowTrace,
    flow: Any,
    pipeline: Pipeline,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
) -> dict[str, Value]:
    """The value of each parameter, or an expression for it."""
    try:
        given = inspect.signature(flow.fn).bind(*arguments, **named).arguments
    except TypeError as error:
        raise NotFollowed(trace.line(), f"{flow.name}(): {error}") from None
    values: dict[str, Value] = {}
    for argument, parameter in zip(
        arguments_of(pipeline.declared)[0], pipeline.declared, strict=True
    ):
        try:
            value = freeze(definition_value(given.get(argument.name, parameter.default)))
            known = value is ABSENT or any(True for _ in references(value))
            values[parameter.name] = value if known else coerce_one(parameter, value)
        except UnsupportedValue as why:
            what = f"the argument {argument.name!r} of {flow.name}() is {why}"
            raise NotFollowed(trace.line(), what) from None
        except ParameterValueError as why:
            what = f"{flow.name}(): {argument.name}: expected {why}, got {shown(value)}"
            raise NotFollowed(trace.line(), what) from None
    return values


def _declare(trace: FlowTrace, steps: Steps, connections: Mapping[str, Any]) -> None:
    """Add steps, and those in their branches and bodies; all have ended when the call returns."""
    for step in steps:
        trace.builder.settings[step.name] = dict(connections.get(step.name, EMPTY))
        trace.builder.add(step.with_inner(lambda inner: ()))
        for field in step.inner_fields:
            with trace.block(step.name, field):
                _declare(trace, getattr(step, field) or (), connections)
    trace.state.ended.update(dict.fromkeys(step.name for step in steps))
