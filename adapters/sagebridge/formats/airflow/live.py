"""The pipeline that a live DAG of our operators makes. The DAG is only looked at, nothing imported.

An operator of ours is known by the model step that it carries (``step``); what a definition says
beside steps and parameters is the DAG's default argument ``definition``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.formats.sagemaker.reader import read_parameter
from sagebridge.model.expressions import plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import VERSION, Pipeline, Step
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, thaw

TYPES = {"string": "String", "integer": "Integer", "number": "Float", "boolean": "Boolean"}


def steps_of(dag: Any) -> dict[str, Any]:
    """The operators of ours by step name, in the order of the DAG."""
    return {task.step.name: task for task in dag.tasks if isinstance(_step(task), Step)}


def _step(task: Any) -> Any:
    return getattr(task, "step", None)


def pipeline_of(dag: Any) -> Pipeline:
    """The pipeline that the steps and params of a DAG make, as the DAG is now."""
    steps = {name: operator.step for name, operator in steps_of(dag).items()}
    inside = {inner.name for step in steps.values() for inner in getattr(step, "branches", ())}
    beside = dict(plain(dag.default_args.get("definition", EMPTY)))
    details = beside.pop("Parameters", EMPTY)
    order = {name: position for position, name in enumerate(beside.pop("Steps", ()))}
    outside = [step for name, step in steps.items() if name not in inside]
    parameters = parameters_of(dag, details or EMPTY)
    role = dag.default_args.get("role_arn")
    return Pipeline(
        steps=tuple(sorted(outside, key=lambda step: order.get(step.name, len(order)))),
        parameters=ABSENT if details is ABSENT and not parameters else parameters,
        version=beside.pop("Version", VERSION),
        metadata=beside.pop("Metadata", ABSENT),
        experiment_config=beside.pop("PipelineExperimentConfig", ABSENT),
        mlflow_config=beside.pop("MlflowConfig", ABSENT),
        extra=Object(beside),
        name=dag.default_args.get("pipeline_name", dag.dag_id),
        description=dag.description or ABSENT,
        role_arn=role or ABSENT,
    )


def parameters_of(dag: Any, details: Mapping[str, Value] = EMPTY) -> tuple[Parameter, ...]:
    """The pipeline parameters that a DAG declares as Params of a JSON scalar type.

    ``details`` has, by name, the members that a Param says otherwise or cannot say.
    """
    found = []
    for name in dag.params:
        param = dag.params.get_param(name)
        schema = param.schema
        if schema.get("type", "string") not in TYPES:
            continue
        default = param.value if param.has_value else ABSENT
        members = members_of(
            name, schema.get("type", "string"), default, schema.get("enum"), param.description
        )
        members.update(details.get(name, EMPTY))
        parameter = read_parameter(
            {member: thaw(value) for member, value in members.items() if value is not ABSENT}
        )
        if parameter is not None:
            found.append(parameter)
    return tuple(found)


def members_of(
    name: str, type_: str, default: Value, enum: Value, description: str | None
) -> dict[str, Value]:
    """What a Param says, as members of a definition's parameter."""
    members: dict[str, Value] = {"Name": name, "Type": TYPES[type_], "DefaultValue": default}
    if enum:
        members["EnumValues"] = enum
    if description:
        members["Description"] = description
    return members
