"""What the jobs of a step answer in a scenario, as far as the pipeline refers to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.model.expressions import Get
from sagebridge.model.for_each import body_owners
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.lifecycle.outputs import LIST_KEYS, references_to
from tests.faulty_aws.job_scripts import merged
from tests.whole_pipelines.file_contents import below, service_model
from tests.whole_pipelines.scenarios import (
    GIVEN,
    Scenario,
    is_natural,
    nested,
    output_type,
    through,
)

ITERATIONS = 8
"""Iterations of a ForEach whose jobs get answers."""
_BY_SHAPE = {"integer": 1, "long": 1, "float": 0.5, "double": 0.5, "boolean": True}


def indexes(pipeline: Pipeline, step: Step) -> list[tuple[int, ...]]:
    looped = step.name in body_owners(pipeline)
    return [(one,) for one in range(ITERATIONS)] if looped else [()]


def answer(
    pipeline: Pipeline, scenario: Scenario, step: Step, index: tuple[int, ...]
) -> dict[str, Any]:
    """The properties of a step to which the pipeline refers, as its job returns them."""
    found: dict[str, Any] = {}
    for reference in references_to(step.name, pipeline.steps):
        if not is_natural(pipeline, reference):
            value = _chosen(pipeline, scenario, reference, index)
            found = merged(found, nested(reference.tokens[1:], value, LIST_KEYS))
    return found


def _chosen(pipeline: Pipeline, scenario: Scenario, reference: Get, index: tuple[int, ...]) -> Any:
    """The value of a property; numbers differ between iterations."""
    for name, value in scenario.values.items():
        given = Get.parse(name)
        if given is not None and through(pipeline, given).text == reference.text:
            return value
    step = pipeline.step(reference.name)
    type_ = output_type(pipeline, reference)
    found: Any = GIVEN[type_] if type_ in GIVEN else _typical(step, reference)
    return found + index[0] if index and type(found) in (int, float) else found


def outputs(step: Step, answered: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each output parameter of a step."""
    declared = step.output_parameters or ()
    usual = {one.name: GIVEN.get(str(one.type), "given") for one in declared}
    return {**usual, **answered.get("OutputParameters", {})}


def _typical(step: Step | None, reference: Get) -> Any:
    """A value of the type that the Describe response of a step has there."""
    row = STEP_TYPES.get(step.type) if step is not None else None
    for response in row.outputs if row is not None else ():
        service, _, operation = response.partition(":")
        operation, _, member = operation.partition("/")
        shape: Any = service_model(service).operation_model(operation).output_shape
        names = [member] if member else []
        for token in (*names, *reference.tokens[1:]):
            shape = below(shape, token)
        if shape is not None:
            return _BY_SHAPE.get(shape.type_name, "given")
    return "given"
