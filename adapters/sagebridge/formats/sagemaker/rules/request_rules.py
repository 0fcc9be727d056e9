"""Rules for the arguments of a step that SageMaker Pipelines has in addition to the job's API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    LocatedStep,
    Problem,
    either,
    is_expression,
    objects,
    wrong_option,
    wrong_type,
)
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.step_types import STEP_TYPES

_OWN_FOLDERS = ("Training", "Athena")
"""Types whose output the service finds itself; for others a Cleanup step lists the objects."""
_FLAGS = ("SkipCheck", "FailOnViolation", "RegisterNewBaseline")
_MOST_OUTPUTS = 50
_REFUSED = {
    "cluster": ("Name", "Steps", "AutoTerminationPolicy"),
    "instances": ("KeepJobFlowAliveWhenNoSteps", "TerminationProtected"),
}
"""Keys of a cluster that the guide excludes, as the service sets them itself."""


def check_requests(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        yield from _check_outputs(step)
        if (row := STEP_TYPES.get(step.type)) is None:
            continue
        if row.check_types:
            yield from _check_flags(step)
        yield from _check_sizes(step, row.most)
        if row.source_steps:
            yield from _check_sources(definition, step)
        if step.type == "Lineage":
            yield from _check_associations(step)
        yield from _refused(step, row.refused, step.arguments, step.at("Arguments"))
        if step.type == "AutoML":
            yield from _check_auto_ml(step)
        if isinstance(step.raw.get("Arguments"), dict):
            yield from _check_required(step, row.required_arguments)
        if step.type == "EMR":
            yield from _check_emr(step)


def _check_outputs(step: LocatedStep) -> Iterator[Problem]:
    outputs = step.raw.get("OutputParameters")
    if isinstance(outputs, list) and len(outputs) > _MOST_OUTPUTS:
        yield Problem(
            "too-many-outputs",
            step.at("OutputParameters"),
            f"step {step.label}: {len(outputs)} output parameters; at most {_MOST_OUTPUTS} are "
            "allowed",
        )


def _check_sizes(step: LocatedStep, most: Mapping[str, int]) -> Iterator[Problem]:
    for name, limit in most.items():
        value = step.arguments.get(name)
        if isinstance(value, list) and len(value) > limit:
            message = f"{name} of step {step.label}: expected at most {limit} items"
            yield Problem(
                "out-of-bounds", step.at("Arguments", name), f"{message}, got {len(value)}"
            )


def _check_associations(step: LocatedStep) -> Iterator[Problem]:
    """The ends of a Lineage step's associations: an ARN, or an entity of the same step."""
    own = [
        (kind, raw.get(f"{kind}Name"))
        for kind in ("Action", "Artifact", "Context")
        for _, raw in objects(step.arguments.get(f"{kind}s"), "")
    ]
    place = step.at("Arguments", "Associations")
    for pointer, raw in objects(step.arguments.get("Associations"), place):
        for side in ("Source", "Destination"):
            end = raw.get(side)
            if isinstance(end, dict) and (
                "Arn" in end
                or is_expression(end.get("Name"))
                or (end.get("Type"), end.get("Name")) in own
            ):
                continue
            expected = "expected an Arn, or Name and Type of an entity of the step"
            yield Problem(
                "association-end",
                f"{pointer}/{side}" if side in raw else pointer,
                f"{side} of an association of step {step.label}: {expected}, got "
                + (shown(end) if side in raw else "nothing"),
            )


def _check_sources(definition: Definition, step: LocatedStep) -> Iterator[Problem]:
    """The steps whose output a Cleanup step deletes."""
    if "Resources" not in step.arguments:  # reported as a missing key
        return
    what, place = f"Cleanup step {step.label}", step.at("Arguments", "Resources")
    resources = step.arguments["Resources"]
    rows = resources.get("S3") if isinstance(resources, dict) else None
    if not isinstance(resources, dict):
        yield wrong_type(place, f"Resources of step {step.label}", "an object", resources)
    elif "S3" not in resources:
        yield Problem("missing-member", place, f"{what}: missing key 'S3'")
    elif not isinstance(rows, list) or not rows:
        expected = "an array of at least one object"
        yield wrong_type(f"{place}/S3", f"Resources.S3 of step {step.label}", expected, rows)
    else:
        for position, raw in enumerate(rows):
            yield from _check_source(definition, what, f"{place}/S3/{position}", raw)


def _check_source(definition: Definition, what: str, pointer: str, raw: Any) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield wrong_type(pointer, f"source of {what}", "an object", raw)
        return
    uris = raw.get("S3Uris", [""])
    if not (isinstance(uris, list) and uris and all(map(_is_text, uris))):
        expected = "an array of strings and references"
        yield wrong_type(f"{pointer}/S3Uris", f"S3Uris of {what}", expected, uris)
    name = raw.get("StepName")
    if "StepName" not in raw:
        yield Problem("missing-member", pointer, f"{what}: missing key 'StepName'")
    elif not isinstance(name, str):
        yield wrong_type(f"{pointer}/StepName", f"StepName of {what}", "a string", name)
    elif (source := definition.by_name.get(name)) is None:
        hint = did_you_mean(name, definition.by_name)
        message = f"{what}: unknown step {shown(name)}{hint}"
        yield Problem("unknown-step", f"{pointer}/StepName", message)
    elif ("S3Uris" in raw) == (source.type in _OWN_FOLDERS):
        do = "takes no S3Uris" if "S3Uris" in raw else "needs S3Uris"
        message = f"{what}: a source of type {source.type} {do}"
        yield Problem("cleanup-source", pointer, message, "warning")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or is_expression(value)


def _check_flags(step: LocatedStep) -> Iterator[Problem]:
    for name in _FLAGS:
        value = step.raw.get(name, False)
        if not isinstance(value, bool) and not is_expression(value):
            what = f"{name} of step {step.label}"
            yield wrong_option(step.at(name), what, "true, false or an expression", value)


def _check_auto_ml(step: LocatedStep) -> Iterator[Problem]:
    config = step.arguments.get("AutoMLJobConfig")
    mode = config.get("Mode", "ENSEMBLING") if isinstance(config, dict) else "ENSEMBLING"
    if isinstance(mode, str) and mode != "ENSEMBLING":
        yield Problem(
            "unsupported-argument",
            step.at("Arguments", "AutoMLJobConfig", "Mode"),
            f"AutoML step {step.label}: Mode must be ENSEMBLING, got {shown(mode)}",
        )


def _check_required(step: LocatedStep, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if name not in step.arguments:
            message = f"{step.type} step {step.label}: missing key {name!r}"
            yield Problem("missing-member", step.at("Arguments"), message)


def _check_emr(step: LocatedStep) -> Iterator[Problem]:
    arguments, pointer = step.arguments, step.at("Arguments")
    config = arguments.get("ClusterConfig")
    if not isinstance(config, dict):
        return
    if "ExecutionRoleArn" in arguments and "ClusterId" not in arguments:
        yield Problem(
            "unsupported-argument",
            f"{pointer}/ExecutionRoleArn",
            f"EMR step {step.label}: ExecutionRoleArn is only allowed together with ClusterId",
        )
    pointer = f"{pointer}/ClusterConfig"
    yield from _refused(step, _REFUSED["cluster"], config, pointer)
    instances = config.get("Instances")
    if isinstance(instances, dict) and not is_expression(instances):
        pointer = f"{pointer}/Instances"
        yield from _refused(step, _REFUSED["instances"], instances, pointer)
        kinds = ("InstanceGroups", "InstanceFleets")
        given = [kind for kind in kinds if kind in instances]
        if len(given) == 2 or not (given or "MasterInstanceType" in instances):
            found = "both" if given else "neither"
            yield Problem(
                "one-of-arguments",
                pointer,
                f"EMR step {step.label}: expected either {either(kinds)}, got {found}",
            )


def _refused(
    step: LocatedStep, names: Sequence[str], given: Mapping[str, Any], pointer: str
) -> Iterator[Problem]:
    for name in names:
        if name in given:
            yield Problem(
                "unsupported-argument",
                f"{pointer}/{name}",
                f"{step.type} step {step.label}: {name} is not allowed; the service sets it",
            )
