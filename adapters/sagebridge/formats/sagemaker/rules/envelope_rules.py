"""Rules for the top level of a definition, its parameters, and the fields of its request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    NAME,
    Definition,
    Problem,
    either,
    label,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_keys import (
    CONFIGS,
    DEFINITION,
    PARAMETER,
    unknown_keys,
)
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.parameters import PARAMETER_TYPES, Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import VERSION

MAX_SIZE = 1_048_576
"""The characters that CreatePipeline allows in a definition."""
MAX_PARAMETERS = 200
_PIPELINE_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,255}\Z")


def check_document(envelope: Mapping[str, Any], size: int) -> Iterator[Problem]:
    """Check the other fields of the request, response or template that holds a definition.

    ``size`` is the number of characters of the definition.
    """
    name = envelope.get("PipelineName")
    if isinstance(name, str) and not _PIPELINE_NAME.match(name):
        yield Problem(
            "pipeline-name",
            "/PipelineName",
            f"invalid pipeline name {shown(name)}; expected 1 to 256 letters, digits and hyphens, "
            "with no hyphen first or last",
            "warning",
        )
    match envelope.get("ParallelismConfiguration"):
        case {"MaxParallelExecutionSteps": limit}:
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                yield Problem(
                    "parallelism",
                    "/ParallelismConfiguration/MaxParallelExecutionSteps",
                    f"MaxParallelExecutionSteps: expected at least 1, got {kind(limit)}",
                )
    if size > MAX_SIZE:
        yield Problem(
            "definition-size",
            "",
            f"the definition has {size} characters; SageMaker allows at most {MAX_SIZE}",
            "warning",
        )


def check_envelope(definition: Definition) -> Iterator[Problem]:
    raw = definition.raw
    if "Version" not in raw:
        yield Problem("missing-member", "", f"missing key 'Version'; expected {VERSION!r}")
    elif raw["Version"] != VERSION:
        yield Problem(
            "unsupported-version",
            "/Version",
            f"unsupported Version {shown(str(raw['Version']))}; expected {VERSION!r}",
        )
    steps = raw.get("Steps")
    if "Steps" not in raw:
        yield Problem("no-steps", "", "missing key 'Steps'; expected a list of steps")
    elif not isinstance(steps, list):
        yield wrong_type("/Steps", "Steps", "an array", steps)
    elif not steps:
        yield Problem("no-steps", "/Steps", "Steps is empty; a pipeline needs at least one step")
    if not isinstance(raw.get("Metadata", {}), dict):
        yield wrong_option("/Metadata", "Metadata", "an object", raw["Metadata"])
    for name, keys in CONFIGS.items():
        yield from _check_config(raw.get(name), name, keys)
    yield from unknown_keys(raw, DEFINITION, "", "definition")


def _check_config(config: Any, name: str, keys: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(config, dict | None):
        yield wrong_type(f"/{name}", name, "an object or null", config)
        return
    yield from unknown_keys(config or {}, keys, f"/{name}", name)
    for key in keys:
        value = (config or {}).get(key, "")
        if not isinstance(value, str | dict):
            what = f"{key} of {name}"
            yield wrong_option(f"/{name}/{key}", what, "a string or expression", value)


def check_parameters(definition: Definition) -> Iterator[Problem]:
    parameters = definition.raw.get("Parameters", [])
    if not isinstance(parameters, list):
        yield wrong_option("/Parameters", "Parameters", "an array", parameters)
        return
    if len(parameters) > MAX_PARAMETERS:
        yield Problem(
            "too-many-parameters",
            "/Parameters",
            f"{len(parameters)} parameters; an execution can set at most {MAX_PARAMETERS}",
            "warning",
        )
    seen: set[str] = set()
    for position, raw in enumerate(parameters):
        pointer = f"/Parameters/{position}"
        if not isinstance(raw, dict):
            yield wrong_type(pointer, "parameter", "an object", raw)
            continue
        name = raw.get("Name")
        if "Name" not in raw:
            yield Problem("missing-member", pointer, "parameter: missing key 'Name'")
        elif not isinstance(name, str):
            yield wrong_type(f"{pointer}/Name", "Name of a parameter", "a string", name)
        else:
            yield from _check_name(name, pointer, seen)
            seen.add(name)
        yield from _check_parameter(raw, pointer)


def _check_name(name: str, pointer: str, seen: set[str]) -> Iterator[Problem]:
    if name in seen:
        yield Problem(
            "duplicate-parameter", f"{pointer}/Name", f"two parameters are named {shown(name)}"
        )
    if len(name) > 256 or not NAME.match(name[:64]):
        yield Problem(
            "parameter-name",
            f"{pointer}/Name",
            f"invalid parameter name {shown(name)}; "
            "expected 1 to 256 letters, digits, hyphens and underscores",
        )


def _check_parameter(raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
    name = raw.get("Name")
    what = f"parameter {label(name) if isinstance(name, str) else 'without a name'}"
    yield from unknown_keys(raw, PARAMETER, pointer, what)
    declared = raw.get("Type", "String")
    if declared not in PARAMETER_TYPES:
        near = did_you_mean(declared, PARAMETER_TYPES) if isinstance(declared, str) else ""
        yield Problem(
            "parameter-type",
            f"{pointer}/Type",
            f"{what}: unknown Type {kind(declared)}"
            + (near or f"; expected {either(PARAMETER_TYPES)}"),
        )
        return
    if not isinstance(raw.get("Description", ""), str):
        yield wrong_option(
            f"{pointer}/Description", f"Description of {what}", "a string", raw["Description"]
        )
    yield from _check_enum(raw, declared, pointer, what)
    if "DefaultValue" in raw:
        yield from _check_default(raw, declared, pointer)


def _check_enum(raw: dict[str, Any], declared: str, pointer: str, what: str) -> Iterator[Problem]:
    choices = raw.get("EnumValues", [""])
    if not isinstance(choices, list):
        yield wrong_option(f"{pointer}/EnumValues", f"EnumValues of {what}", "an array", choices)
        return
    if not choices:
        yield Problem(
            "parameter-enum", f"{pointer}/EnumValues", f"{what}: EnumValues is empty", "warning"
        )
    for position, choice in enumerate(choices if "EnumValues" in raw else ()):
        if not _is_typed(declared, choice):
            yield Problem(
                "parameter-enum",
                f"{pointer}/EnumValues/{position}",
                f"{what}: EnumValues: expected {_a(declared)}, got {kind(choice)}",
            )


def _check_default(raw: dict[str, Any], declared: str, pointer: str) -> Iterator[Problem]:
    default, choices = raw["DefaultValue"], raw.get("EnumValues")
    name = raw.get("Name")
    what = f"parameter {label(name) if isinstance(name, str) else 'without a name'}: DefaultValue"
    pointer = f"{pointer}/DefaultValue"
    try:
        value = coerce_one(Parameter("", declared), default)
    except ParameterValueError:
        message = f"{what}: expected {_a(declared)}, got {kind(default)}"
        yield Problem("parameter-default", pointer, message)
        return
    if not _is_typed(declared, default):
        message = f"{what}: expected {_a(declared)}, got {kind(default)}; write it without quotes"
        yield Problem("parameter-default", pointer, message)
    elif isinstance(choices, list) and choices and value not in choices:
        yield Problem(
            "parameter-default",
            pointer,
            f"{what} {kind(default)} is not one of EnumValues",
        )


def _is_typed(declared: str, value: Any) -> bool:
    """Whether a value has the declared type without conversion from a string."""
    if declared != "String" and isinstance(value, str):
        return False
    try:
        coerce_one(Parameter("", declared), value)
    except ParameterValueError:
        return False
    return True


def _a(type_: str) -> str:
    return f"an {type_}" if type_[0] == "I" else f"a {type_}"
