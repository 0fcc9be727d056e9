"""The pipeline of a live DAG of sagebridge operators. The DAG is only inspected.

Each operator has a step of the model (``step``). Two default arguments of the DAG have the other
keys, by AWS's names: ``definition`` those of the definition, ``pipeline`` those of a CreatePipeline
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagebridge.authoring.definition_reader import read_parameter
from sagebridge.authoring.definition_writer import write_parameter
from sagebridge.authoring.file_arguments import (
    assemble,
    definition_keys,
    file_arguments,
    in_definition_order,
    parameter_of,
    request_keys,
    step_order,
    unstated_members,
)
from sagebridge.model.connections import AIRFLOW_DEFAULTS, for_airflow, shared_connection
from sagebridge.model.display import free_name
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.values import ABSENT, EMPTY, Value, freeze, same, thaw

TYPES = {
    "string": "String",
    "integer": "Integer",
    "number": "Float",
    "boolean": "Boolean",
    "array": "Array",
    "object": "Object",
}
OWN = ("definition", "pipeline")
GENERATED = "sagebridge"
"""The tag of DAGs that sagebridge wrote or built: their strings are data."""
ITEMS, BODY = "_items", "_body"
"""The ends of the ids of a ForEach's first task, and of the task group with its body."""
WATCHER = "watch_failures"
"""The id of the task that reports hidden failures, unless a step has it."""
SCHEMA = {type_: schema for schema, type_ in TYPES.items()}


def steps_of(dag: Any) -> dict[str, Any]:
    """The sagebridge operators by step name, in the order of the DAG."""
    tasks = (task for task in dag.tasks if isinstance(getattr(task, "step", None), Step))
    return {task.step.name: task for task in tasks}


def pipeline_of(dag: Any) -> Pipeline:
    """The pipeline formed by the current steps and Params of a DAG."""
    steps = {name: operator.step for name, operator in steps_of(dag).items()}
    nested = {inner.name for step in steps.values() for inner in step.inner}
    members, request = own_arguments(dag.default_args)
    order = step_order(members)
    top = [step for name, step in steps.items() if name not in nested]
    pipeline = assemble(
        in_definition_order(top, order),
        parameters_of(dag, members.get("Parameters") or EMPTY),
        members,
        {"PipelineName": dag.dag_id, **request},
        description=dag.description,
        role_arn=dag.default_args.get("role_arn"),
    )
    found = {name: connection_of(operator) for name, operator in steps_of(dag).items()}
    return replace(pipeline, connections=freeze({name: one for name, one in found.items() if one}))


def connection_of(operator: Any) -> dict[str, Value]:
    """The arguments with which an operator connects to AWS, without defaults.

    Only JSON values without templates are included.
    """
    given = {name: getattr(operator, name, default) for name, default in AIRFLOW_DEFAULTS.items()}
    return {
        name: value
        for name, value in given.items()
        if is_constant(value) and not same(freeze(value), AIRFLOW_DEFAULTS[name])
    }


def is_constant(value: Any) -> bool:
    """Whether a value is JSON and none of its strings is a template."""
    match value:
        case str():
            return "{{" not in value and "{%" not in value
        case None | bool() | int() | float():
            return True
        case list() | tuple():
            return all(map(is_constant, value))
        case Mapping():
            return all(map(is_constant, (*value, *value.values())))
    return False


def own_arguments(default_args: Any) -> tuple[Mapping[str, Value], dict[str, Any]]:
    """The default arguments ``definition`` and ``pipeline``; others may use these names too."""
    found = {name: value for name in OWN if is_own(name, value := default_args.get(name))}
    return definition_keys(found.get("definition", EMPTY)), request_keys(
        found.get("pipeline", EMPTY)
    )


def is_own(name: str, value: Any) -> bool:
    """Whether sagebridge wrote this default argument."""
    return name in OWN and isinstance(value, Mapping)


def parameters_of(dag: Any, details: Any = EMPTY) -> tuple[Parameter, ...]:
    """The pipeline parameters that a DAG declares as Params.

    ``details`` has, by parameter, the keys that its Param states differently or cannot express. If
    two parameters have one name, it is the list of all parameters.
    """
    if isinstance(details, tuple | list):
        return tuple(one for raw in thaw(details) if (one := read_parameter(raw)) is not None)
    found = []
    for name in dag.params:
        param = dag.params.get_param(name)
        type_ = param_type(param)
        if type_ is None:
            continue
        nullable = is_nullable(param)
        is_set = param.has_value or (nullable and param.value is None)
        default = param.value if is_set else ABSENT
        unstated = dict(details.get(name, EMPTY))
        written = unstated.get("DefaultValue")
        if isinstance(written, str) and not same(_in_type(TYPES[type_], written), default):
            del unstated["DefaultValue"]
        stated = members_of(name, type_, default, _choices(param), param.description)
        members = {**stated, **unstated}
        if (parameter := parameter_of(members, param.schema, nullable=nullable)) is not None:
            found.append(parameter)
    return tuple(found)


def _choices(param: Any) -> list[Any]:
    """The values of an enumeration, without the null of a nullable Param."""
    choices, declared = param.schema.get("enum") or [], param.schema.get("type")
    may_be_null = isinstance(declared, list) and "null" in declared
    return [one for one in choices if one is not None or not may_be_null]


_TYPE_NAMES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def param_type(param: Any) -> str | None:
    """The JSON type of a Param by its schema or else its value; None if no parameter has it."""
    declared = param.schema.get("type")
    if isinstance(declared, list):
        declared = next((one for one in declared if one != "null"), None)
    if declared is not None:
        return declared if declared in TYPES else None
    value = param.value if param.has_value else ""
    return _TYPE_NAMES.get(type(value))


def is_nullable(param: Any) -> bool:
    """Whether null is a value of a Param, and not the empty string; see :func:`param_schema`."""
    declared = param.schema.get("type")
    if not isinstance(declared, list):
        return declared is None and param.value is None
    has_empty = "" in (param.value, *_choices(param))
    return "null" in declared and not (declared[-1] == "null" and has_empty)


def members_of(
    name: str, type_: str, default: Value, enum: Value, description: str | None
) -> dict[str, Value]:
    """The keys of a definition's parameter that a Param expresses."""
    return {
        "Name": name,
        "Type": TYPES[type_],
        "DefaultValue": default,
        "EnumValues": enum or ABSENT,
        "Description": description or ABSENT,
    }


def legal_id(name: str) -> str:
    """A name as a DAG or task id: letters, digits, ``_``, ``-``, ``.``; at most 250 characters."""
    # airflow.sdk.definitions._internal.node.validate_key has the same rule.
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:250] or "_"


def task_ids(pipeline: Pipeline) -> dict[str, str]:
    """The task id of each step: its name if that is legal, otherwise a similar unused id."""
    names = [step.name for step in walk(pipeline)]
    loops = [legal_id(step.name) for step in walk(pipeline) if isinstance(step, ForEachStep)]
    taken = {f"{loop}{end}" for loop in loops for end in (ITEMS, BODY)}
    kept = {name for name in names if legal_id(name) == name} - taken
    taken |= kept
    ids = {}
    for name in names:
        legal = legal_id(name)
        ids[name] = name if name in kept else free_name(legal, taken, legal[:240])
        taken.add(ids[name])
    return ids


def watch_id(pipeline: Pipeline) -> str:
    """The id of the task that reports hidden failures; no step has it."""
    return free_name(WATCHER, task_ids(pipeline).values())


def default_arguments(pipeline: Pipeline, dag_id: str) -> dict[str, Value]:
    """The default arguments of a DAG, for what its steps, Params and options cannot express."""
    details: Any = {p.name: found for p in pipeline.declared if (found := _unstated(p))}
    if len({p.name for p in pipeline.declared}) != len(pipeline.declared):
        # The params of a DAG are a dict, so the list of parameters is kept as a whole.
        details = [write_parameter(p) for p in pipeline.declared]
    options = ("PipelineDescription", "RoleArn")
    own = file_arguments(pipeline, dag_id, options, details)
    return {**own, **thaw(for_airflow(shared_connection(pipeline)))}


def schema_type(parameter: Parameter) -> str:
    """The JSON schema type of a parameter's Param."""
    return SCHEMA.get(parameter.value_type, "string")


def param_schema(parameter: Parameter) -> dict[str, Any]:
    """The keys of the JSON schema of a parameter's Param, without its description.

    Airflow's trigger form rejects the value "" unless the Param may be null, and turns a cleared
    field into null (isRequired in FlexibleForm.tsx and FieldString.tsx of its UI). So null is ""
    with the types ``["string", "null"]``; it is a value itself with ``["null", "string"]``.
    """
    schema: dict[str, Any] = {"type": schema_type(parameter), **thaw(parameter.limits)}
    choices = parameter.enum_values or ()
    if choices:
        schema["enum"] = thaw(choices)
    if parameter.nullable or may_be_empty(parameter):
        own = schema["type"]
        schema["type"] = ["null", own] if parameter.nullable else [own, "null"]
        if choices:
            schema["enum"].append(None)
    return schema


def may_be_empty(parameter: Parameter) -> bool:
    """Whether "" is the default or a choice of a String; then null means "" in Airflow."""
    if parameter.value_type != "String" or parameter.nullable:
        return False
    return parameter.default == "" or "" in (parameter.enum_values or ())


def shown_default(parameter: Parameter) -> Value:
    """The default of a Param in its declared type; Airflow rejects a string for a number."""
    if isinstance(parameter.default, str):
        return _in_type(parameter.value_type, parameter.default)
    return parameter.default


def _in_type(type_: str, text: str) -> Value:
    try:
        return coerce_one(Parameter("", type_), text)
    except ParameterValueError:
        return text


def _unstated(parameter: Parameter) -> dict[str, Value]:
    stated = members_of(
        parameter.name,
        schema_type(parameter),
        shown_default(parameter) if parameter.default is not None or parameter.nullable else ABSENT,
        parameter.enum_values,
        parameter.description or None,
    )
    return unstated_members(parameter, stated)
