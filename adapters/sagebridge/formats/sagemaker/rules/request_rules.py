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
    wrong_option,
)
from sagebridge.model.display import shown
from sagebridge.model.step_types import STEP_TYPES

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
