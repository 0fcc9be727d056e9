"""The top level of a definition, its parameters, and what a document says beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    NAME,
    Definition,
    Problem,
    label,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_members import (
    CONFIGS,
    DEFINITION,
    PARAMETER,
    unknown_members,
)
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.parameters import PARAMETER_TYPES, Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import VERSION

MAX_SIZE = 1_048_576
"""Characters of a definition that CreatePipeline takes."""
MAX_PARAMETERS = 200
_PIPELINE_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,255}\Z")


def check_document(envelope: Mapping[str, Any], size: int) -> Iterator[Problem]:
    """What a request, response or template says beside a definition of ``size`` characters."""
    name = envelope.get("PipelineName")
    if isinstance(name, str) and not _PIPELINE_NAME.match(name):
        yield Problem(
            "pipeline-name",
            "/PipelineName",
            f"pipeline name {shown(name)} (1 to 256 letters, digits and hyphens within expected)",
            "warning",
        )
    match envelope.get("ParallelismConfiguration"):
        case {"MaxParallelExecutionSteps": limit}:
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                yield Problem(
                    "parallelism",
                    "/ParallelismConfiguration/MaxParallelExecutionSteps",
                    f"MaxParallelExecutionSteps is {kind(limit)} (1 or more expected)",
                )
    if size > MAX_SIZE:
        yield Problem(
            "definition-size",
            "",
            f"the definition has {size} characters; SageMaker takes at most {MAX_SIZE}",
            "warning",
        )


def check_envelope(definition: Definition) -> Iterator[Problem]:
    raw = definition.raw
    if "Version" not in raw:
        yield Problem("missing-member", "", f"the definition has no Version ({VERSION} expected)")
    elif raw["Version"] != VERSION:
        yield Problem(
            "unsupported-version",
            "/Version",
            f"unsupported Version {shown(str(raw['Version']))} (expected {VERSION})",
        )
    steps = raw.get("Steps")
    if "Steps" not in raw:
        yield Problem("no-steps", "", "the definition has no Steps: it needs at least one step")
    elif not isinstance(steps, list):
        yield wrong_type("/Steps", "Steps", "an array", steps)
    elif not steps:
        yield Problem("no-steps", "/Steps", "Steps is empty: a pipeline needs at least one step")
    if not isinstance(raw.get("Metadata", {}), dict):
        yield wrong_option("/Metadata", "Metadata", "an object", raw["Metadata"])
    for name, members in CONFIGS.items():
        yield from _check_config(raw.get(name), name, members)
    yield from unknown_members(raw, DEFINITION, "", "a definition")


def _check_config(config: Any, name: str, members: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(config, dict | None):
        yield wrong_type(f"/{name}", name, "an object or null", config)
        return
    yield from unknown_members(config or {}, members, f"/{name}", name)
    for member in members:
        value = (config or {}).get(member, "")
        if not isinstance(value, str | dict):
            what = f"{member} of {name}"
            yield wrong_option(f"/{name}/{member}", what, "a string or expression", value)


def check_parameters(definition: Definition) -> Iterator[Problem]:
    parameters = definition.raw.get("Parameters", [])
    if not isinstance(parameters, list):
        yield wrong_option("/Parameters", "Parameters", "an array", parameters)
        return
    if len(parameters) > MAX_PARAMETERS:
        yield Problem(
            "too-many-parameters",
            "/Parameters",
            f"{len(parameters)} parameters; a start gives at most {MAX_PARAMETERS}",
            "warning",
        )
    seen: set[str] = set()
    for position, raw in enumerate(parameters):
        pointer = f"/Parameters/{position}"
        if not isinstance(raw, dict):
            yield wrong_type(pointer, "a parameter", "an object", raw)
            continue
        name = raw.get("Name")
        if "Name" not in raw:
            yield Problem("missing-member", pointer, "a parameter has no Name")
        elif not isinstance(name, str):
            yield wrong_type(f"{pointer}/Name", "the Name of a parameter", "a string", name)
        else:
            yield from _check_name(name, pointer, seen)
            seen.add(name)
        yield from _check_parameter(raw, pointer)


def _check_name(name: str, pointer: str, seen: set[str]) -> Iterator[Problem]:
    if name in seen:
        yield Problem(
            "duplicate-parameter", f"{pointer}/Name", f"parameter name {shown(name)} defined twice"
        )
    if len(name) > 256 or not NAME.match(name[:64]):
        yield Problem(
            "parameter-name",
            f"{pointer}/Name",
            f"parameter name {shown(name)} "
            "(1 to 256 letters, digits, hyphens and underscores expected)",
        )


def _check_parameter(raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
    name = raw.get("Name")
    what = f"parameter {label(name) if isinstance(name, str) else 'without a name'}"
    yield from unknown_members(raw, PARAMETER, pointer, what)
    declared = raw.get("Type", "String")
    if declared not in PARAMETER_TYPES:
        near = did_you_mean(declared, PARAMETER_TYPES) if isinstance(declared, str) else ""
        yield Problem(
            "parameter-type",
            f"{pointer}/Type",
            f"unknown Type of {what}: {kind(declared)}{near or _among(PARAMETER_TYPES)}",
        )
        return
    if not isinstance(raw.get("Description", ""), str):
        yield wrong_option(
            f"{pointer}/Description", f"the Description of {what}", "a string", raw["Description"]
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
            "parameter-enum", f"{pointer}/EnumValues", f"EnumValues of {what} is empty", "warning"
        )
    for position, choice in enumerate(choices if "EnumValues" in raw else ()):
        if not _is_typed(declared, choice):
            yield Problem(
                "parameter-enum",
                f"{pointer}/EnumValues/{position}",
                f"{declared} {what} allows {kind(choice)} among its EnumValues",
            )


def _check_default(raw: dict[str, Any], declared: str, pointer: str) -> Iterator[Problem]:
    default, choices = raw["DefaultValue"], raw.get("EnumValues")
    name = raw.get("Name")
    what = f"default of {declared} parameter {label(name) if isinstance(name, str) else ''}"
    pointer = f"{pointer}/DefaultValue"
    try:
        value = coerce_one(Parameter("", declared), default)
    except ParameterValueError:
        yield Problem("parameter-default", pointer, f"{what.rstrip()} is {kind(default)}")
        return
    if not _is_typed(declared, default):
        message = f"{what.rstrip()} is {kind(default)}; write it without quotes"
        yield Problem("parameter-default", pointer, message)
    elif isinstance(choices, list) and choices and value not in choices:
        yield Problem(
            "parameter-default",
            pointer,
            f"{what.rstrip()} is {kind(default)}, which is not among its EnumValues",
        )


def _is_typed(declared: str, value: Any) -> bool:
    """Whether a value has the declared type itself, not as text that becomes it."""
    if declared != "String" and isinstance(value, str):
        return False
    try:
        coerce_one(Parameter("", declared), value)
    except ParameterValueError:
        return False
    return True


def _among(words: tuple[str, ...]) -> str:
    return f" ({', '.join(words[:-1])} or {words[-1]} expected)"
