"""The pipeline that a live DAG of our operators makes. The DAG is only looked at, nothing imported.

An operator of ours is known by the model step that it carries (``step``). What a definition says
beside steps and parameters is the DAG's default argument ``definition``, and what a CreatePipeline
request says beside the definition is ``pipeline``, both by AWS's member names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sagebridge.authoring.definition_members import fields_beside, members_beside
from sagebridge.formats.sagemaker.reader import read_envelope, read_parameter
from sagebridge.formats.sagemaker.writer import write_envelope, write_parameter
from sagebridge.model.display import free_name
from sagebridge.model.expressions import plain
from sagebridge.model.graph import in_order
from sagebridge.model.parameters import Parameter, WrongValue, coerce_one
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Value, same, thaw

TYPES = {"string": "String", "integer": "Integer", "number": "Float", "boolean": "Boolean"}
SCHEMA = {type_: schema for schema, type_ in TYPES.items()}


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
    around = {"PipelineName": dag.dag_id, **thaw(plain(dag.default_args.get("pipeline", EMPTY)))}
    if dag.description is not None:
        around["PipelineDescription"] = dag.description
    if dag.default_args.get("role_arn") is not None:
        around["RoleArn"] = dag.default_args["role_arn"]
    return Pipeline(
        steps=tuple(sorted(outside, key=lambda step: order.get(step.name, len(order)))),
        parameters=ABSENT if details is ABSENT and not parameters else parameters,
        **fields_beside(beside),
        **read_envelope(around),
    )


def parameters_of(dag: Any, details: Mapping[str, Value] = EMPTY) -> tuple[Parameter, ...]:
    """The pipeline parameters that a DAG declares as Params of a JSON scalar type.

    ``details`` has, by name, the members that a Param says otherwise or cannot say.
    """
    found = []
    for name in dag.params:
        param = dag.params.get_param(name)
        type_ = param_type(param)
        if type_ is None:
            continue
        default = param.value if param.has_value else ABSENT
        members = members_of(name, type_, default, _choices(param), param.description)
        beside = dict(details.get(name, EMPTY))
        written = beside.get("DefaultValue")
        if isinstance(written, str) and not same(_in_type(TYPES[type_], written), default):
            del beside["DefaultValue"]
        members.update(beside)
        parameter = read_parameter(
            {member: thaw(value) for member, value in members.items() if value is not ABSENT}
        )
        if parameter is not None:
            found.append(parameter)
    return tuple(found)


def _choices(param: Any) -> list[Any]:
    """The values of an enumeration; that a Param may be null too is no choice of a pipeline's."""
    choices, declared = param.schema.get("enum") or [], param.schema.get("type")
    may_be_null = isinstance(declared, list) and "null" in declared
    return [one for one in choices if one is not None or not may_be_null]


def param_type(param: Any) -> str | None:
    """The one JSON scalar type of a Param, by its schema, else its value; None where none."""
    declared = param.schema.get("type")
    if isinstance(declared, list):
        declared = next((one for one in declared if one != "null"), None)
    if declared is not None:
        return declared if declared in TYPES else None
    value = param.value if param.has_value else ""
    return {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(value))


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


def legal_id(name: str) -> str:
    """A name as a DAG or task id: letters, digits, ``_``, ``-``, ``.``, at most 250."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:250] or "_"


def task_ids(pipeline: Pipeline) -> dict[str, str]:
    """The task id of each step: its name where that is legal, else one like it that is free."""
    names = [step.name for step in walk(pipeline)]
    taken = {name for name in names if legal_id(name) == name}
    ids = {}
    for name in names:
        legal = legal_id(name)
        ids[name] = name if legal == name else free_name(legal, taken, legal[:240])
        taken.add(ids[name])
    return ids


def watch_id(pipeline: Pipeline) -> str:
    """The id of the task that shows hidden failures: no step's."""
    return free_name("watch_failures", task_ids(pipeline).values())


def beside(pipeline: Pipeline, dag_id: str) -> dict[str, Value]:
    """The default arguments of a DAG for what its steps, Params and own words cannot say."""
    envelope = write_envelope(pipeline)
    for said in ("PipelineDescription", "RoleArn"):
        envelope.pop(said, None)
    if envelope.get("PipelineName") == dag_id:
        del envelope["PipelineName"]
    definition = _beside_steps(pipeline)
    result: dict[str, Value] = {"pipeline": envelope} if envelope else {}
    if definition:
        result["definition"] = definition
    if isinstance(pipeline.role_arn, str):
        result["role_arn"] = pipeline.role_arn
    return result


def _beside_steps(pipeline: Pipeline) -> dict[str, Value]:
    result = members_beside(pipeline)
    details = {p.name: found for p in pipeline.declared if (found := _beside_param(p))}
    if details or pipeline.parameters is ABSENT:
        result["Parameters"] = details or ABSENT
    if [step.name for step in in_order(pipeline.steps)] != [step.name for step in pipeline.steps]:
        result["Steps"] = [step.name for step in pipeline.steps]
    return result


def schema_type(parameter: Parameter) -> str:
    """The JSON schema type of a parameter's Param."""
    return SCHEMA.get(parameter.value_type, "string")


def shown_default(parameter: Parameter) -> Value:
    """A default as a Param has it: in its own type, as Airflow would refuse a text for it."""
    if isinstance(parameter.default, str):
        return _in_type(parameter.value_type, parameter.default)
    return parameter.default


def _in_type(type_: str, text: str) -> Value:
    try:
        return coerce_one(Parameter("", type_), text)
    except WrongValue:
        return text


def _beside_param(parameter: Parameter) -> dict[str, Value]:
    """The members of a parameter that its Param says otherwise or cannot say."""
    said = members_of(
        parameter.name,
        schema_type(parameter),
        ABSENT if parameter.default is None else shown_default(parameter),
        parameter.enum_values or None,
        parameter.description or None,
    )
    meant = write_parameter(parameter)
    names = {**said, **meant}
    return {
        name: meant.get(name, ABSENT)
        for name in names
        if not same(said.get(name, ABSENT), meant.get(name, ABSENT))
    }
