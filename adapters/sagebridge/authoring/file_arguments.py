"""The fields of a pipeline that Python files keep by AWS's names.

DAG and flow files have one mapping for the keys of the definition other than steps and parameters,
``definition={"Metadata": {…}}``. Unknown keys are below ``extra``. Without ``Version`` the mapping
means the usual version; ``Version`` is ABSENT if the definition has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sagebridge.authoring.definition_reader import read_envelope, read_parameter
from sagebridge.authoring.definition_writer import write_envelope, write_parameter
from sagebridge.authoring.json_document import MAX_CONDITIONS
from sagebridge.errors import ModelTypeError
from sagebridge.model.converters import object_
from sagebridge.model.display import shown
from sagebridge.model.graph import in_order
from sagebridge.model.limits import known_limits
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import VERSION, Pipeline, Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, same, thaw


def file_arguments(
    pipeline: Pipeline,
    name: str,
    options: Collection[str],
    details: Mapping[str, Value] | Sequence[Value],
) -> dict[str, Value]:
    """The arguments ``pipeline``, ``definition`` and ``role_arn`` of a file, if it needs them.

    Args:
        pipeline: the pipeline of the file.
        name: the name that the file gives to the DAG or flow.
        options: keys of a CreatePipeline request that the file expresses in another way.
        details: by parameter, the keys that its declaration in the file cannot express; or all
            parameters, if the file cannot declare them.
    """
    result: dict[str, Value] = {}
    stated = set(options) - pipeline.request.keys()
    request = {key: v for key, v in write_envelope(pipeline).items() if key not in stated}
    if request.get("PipelineName") == name:
        del request["PipelineName"]
    if request:
        result["pipeline"] = request
    members = {
        "Metadata": pipeline.metadata,
        "PipelineExperimentConfig": pipeline.experiment_config,
        "MlflowConfig": pipeline.mlflow_config,
        "extra": pipeline.extra or ABSENT,
        "KeyOrder": pipeline.key_order or ABSENT,
    }
    definition = {} if pipeline.version == VERSION else {"Version": pipeline.version}
    definition |= {key: value for key, value in members.items() if value is not ABSENT}
    if details or pipeline.parameters is ABSENT:
        definition["Parameters"] = details or ABSENT
    order = [step.name for step in walk(pipeline)]
    if order != [step.name for step in walk(in_definition_order(pipeline.steps, EMPTY))]:
        definition["Steps"] = order
    if definition:
        result["definition"] = definition
    if isinstance(pipeline.role_arn, str):
        result["role_arn"] = pipeline.role_arn
    return result


def definition_keys(given: Any) -> Object:
    """The mapping ``definition`` of a file. Raises ModelTypeError if it cannot be one."""
    keys, problems = _mapping("definition", given), []
    steps, parameters = keys.get("Steps", ()), keys.get("Parameters") or EMPTY
    if not isinstance(steps, tuple) or not all(isinstance(name, str) for name in steps):
        problems.append(f"definition: Steps: expected a list of step names, got {shown(steps)}")
    each = parameters.values() if isinstance(parameters, Object) else parameters
    if not isinstance(parameters, Object | tuple) or not all(
        isinstance(one, Object) for one in each
    ):
        problems.append(f"definition: Parameters: expected dicts, got {shown(parameters)}")
    if problems:
        raise ModelTypeError(problems)
    return keys


def request_keys(given: Any) -> dict[str, Any]:
    """The mapping ``pipeline`` of a file. Raises ModelTypeError if it cannot be one."""
    found: dict[str, Any] = thaw(_mapping("pipeline", given))
    return found


def _mapping(name: str, given: Any) -> Object:
    try:
        return object_(given)
    except TypeError as error:
        raise ModelTypeError([f"{name}: {error}"]) from None


def step_order(members: Mapping[str, Value]) -> dict[str, int]:
    """The position of each step in the definition, if the order in the file differs."""
    return {name: position for position, name in enumerate(members.get("Steps", ()))}


def in_definition_order(
    steps: Sequence[Step], order: Mapping[str, int], depth: int = 0
) -> tuple[Step, ...]:
    """The steps, also those inside others, in the order of the definition.

    If it is not given, each comes after those it depends on, and task groups stay together.
    """
    if depth > MAX_CONDITIONS:  # no reader accepts it
        return tuple(steps)
    ordered = sorted(steps, key=lambda step: order.get(step.name, len(order)))
    if not order:
        ordered = in_order(in_groups(steps))
    change = partial(in_definition_order, order=order, depth=depth + 1)
    return tuple(step.with_inner(change) for step in ordered)


def in_groups(steps: Sequence[Step], depth: int = 0) -> list[Step]:
    """The steps in the order of a DAG file: each task group at the place of its first step.

    ``depth`` is the number of task groups around them.
    """
    result: dict[str, Step] = {}
    for step in in_order(steps):
        if not (group := step.engine.group[depth : depth + 1]):
            result[step.name] = step
        elif step.name not in result:
            own = [one for one in steps if one.engine.group[depth : depth + 1] == group]
            result |= {one.name: one for one in in_groups(own, depth + 1)}
    return list(result.values())


def assemble(
    steps: tuple[Step, ...],
    parameters: tuple[Parameter, ...],
    members: Mapping[str, Value],
    envelope: Mapping[str, Any],
    *,
    description: str | None,
    role_arn: str | None,
) -> Pipeline:
    """The pipeline of a file, from its steps, parameters, mapping and CreatePipeline keys."""
    stated = {"PipelineDescription": description, "RoleArn": role_arn}
    stated = {name: value for name, value in stated.items() if value is not None}
    no_parameters = members.get("Parameters", EMPTY) is ABSENT and not parameters
    return Pipeline(
        steps=steps,
        parameters=ABSENT if no_parameters else parameters,
        version=members.get("Version", VERSION),
        metadata=members.get("Metadata", ABSENT),
        experiment_config=members.get("PipelineExperimentConfig", ABSENT),
        mlflow_config=members.get("MlflowConfig", ABSENT),
        extra=members.get("extra", EMPTY),
        key_order=members.get("KeyOrder", EMPTY),
        **read_envelope({**envelope, **stated}),
    )


def parameter_of(
    members: Mapping[str, Value], limits: Mapping[str, Value] = EMPTY, *, nullable: bool = False
) -> Parameter | None:
    """The parameter with these keys and limits; keys with the value ABSENT are omitted."""
    found = read_parameter(
        {name: thaw(value) for name, value in members.items() if value is not ABSENT}
    )
    if found is None:
        return None
    limits = Object(known_limits(found.value_type, limits))
    return replace(found, limits=limits, nullable=nullable)


def unstated_members(parameter: Parameter, stated: Mapping[str, Value]) -> dict[str, Value]:
    """The keys of a parameter that its declaration in a file cannot express."""
    actual = write_parameter(parameter)
    return {
        name: actual.get(name, ABSENT)
        for name in {**stated, **actual}
        if not same(stated.get(name, ABSENT), actual.get(name, ABSENT))
    }
