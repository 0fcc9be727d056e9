"""Read the ``AWS::SageMaker::Pipeline`` of a CloudFormation template.

CloudFormation evaluates the functions of a template when it deploys. sagebridge does not guess
their values: :mod:`cloudformation_functions` keeps them as strings.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagebridge.formats.sagemaker.cloudformation_functions import Functions
from sagebridge.formats.sagemaker.cloudformation_schedules import TemplateStarters, read_schedules
from sagebridge.model.display import shown, word_set
from sagebridge.model.losses import Loss
from sagebridge.model.visit import escape

RESOURCE = "AWS::SageMaker::Pipeline"
_NAME = "PipelineName"
_PARTS = ("Parameters", "Mappings", "Conditions", "Rules", "Transform", "Outputs")
"""Parts of a template that have no place in a pipeline."""
PROPERTIES = word_set(
    "PipelineName PipelineDisplayName PipelineDescription PipelineDefinition RoleArn "
    "Tags ParallelismConfiguration"
)
"""The properties of :data:`RESOURCE` in the CloudFormation template reference."""


class NoPipeline(ValueError):
    """A template without a readable pipeline; ``fix`` is the advice."""

    def __init__(self, problem: str, fix: str = "") -> None:
        self.fix = fix
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Resource:
    """The pipeline of a template: its definition as a string, and the pointer to it.

    ``envelope`` has the other properties. ``variables`` are the functions as strings. ``starters``
    are its schedules and event triggers.
    """

    definition: str
    pointer: str
    envelope: dict[str, Any]
    losses: tuple[Loss, ...]
    variables: frozenset[str]
    starters: TemplateStarters


def is_template(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("Resources"), dict) and "Steps" not in value


def has_pipeline(template: Mapping[str, Any]) -> bool:
    resources = template["Resources"].values()
    return any(isinstance(raw, dict) and raw.get("Type") == RESOURCE for raw in resources)


def resource_of(template: Mapping[str, Any], wanted: str = "") -> Resource:
    """The pipeline with the logical id ``wanted``, or the only one. Raises :class:`NoPipeline`."""
    found = {
        name: raw
        for name, raw in template["Resources"].items()
        if isinstance(raw, dict) and raw.get("Type") == RESOURCE
    }
    if wanted:
        found = {name: raw for name, raw in found.items() if name == wanted}
    if not found:
        raise NoPipeline(f"the template has no {RESOURCE}" + (f" {wanted!r}" if wanted else ""))
    if len(found) > 1:
        names = ", ".join(found)
        raise NoPipeline(f"the template has several pipelines: {names}", "add #NAME to the file")
    ((name, raw),) = found.items()
    properties = raw.get("Properties")
    if not isinstance(properties, dict):
        raise NoPipeline(f"{name} has no Properties")
    pointer = f"/Resources/{name}/Properties"
    functions = Functions(defaults_of(template))
    text = _definition(
        properties.get("PipelineDefinition"), f"{pointer}/PipelineDefinition", functions
    )
    envelope = {
        key: functions.value(value, f"{pointer}/{escape(key)}")
        for key, value in properties.items()
        if key not in ("PipelineDefinition", _NAME)
    }
    losses = list(functions.losses())
    variables = functions.variables
    if _NAME in properties:
        of_name = Functions({})
        given = of_name.value(properties[_NAME], f"{pointer}/{_NAME}")
        if unknown := list(of_name.losses()):
            given, loss = _unknown_name(properties[_NAME], unknown[0], template)
            losses.append(loss)
        envelope |= {} if given is None else {_NAME: given}
        variables |= of_name.variables
    own_names = (envelope.get(_NAME), Functions({}).value(properties.get(_NAME), pointer))
    own = {one for one in own_names if isinstance(one, str)}
    starters = read_schedules(template, name, own, defaults_of(template))
    losses += starters.losses
    losses += _rest(template, (name, *starters.resources), variables | starters.variables)
    body = f"{pointer}/PipelineDefinition/PipelineDefinitionBody"
    every = functions.variables | starters.variables
    return Resource(text, body, envelope, tuple(losses), every, starters)


def _definition(raw: Any, pointer: str, functions: Functions) -> str:
    match raw:
        case {"PipelineDefinitionS3Location": location}:
            found = shown(json.dumps(location))
            raise NoPipeline(
                f"the definition is in S3 ({found}), not in the template",
                "download that object and use it as the source",
            )
        case {"PipelineDefinitionBody": body}:
            pass
        case _:
            body = raw
    text = functions.json(body, f"{pointer}/PipelineDefinitionBody")
    if text is None:
        raise NoPipeline(f"{pointer}: expected a string, Fn::Sub, Fn::Join or Fn::ToJsonString")
    return text


def _unknown_name(raw: Any, unknown: Loss, template: Mapping[str, Any]) -> tuple[Any, Loss]:
    """The default of a name that CloudFormation sets, if it has one. Use --name, not --map."""
    default = defaults_of(template).get(raw.get("Ref", "")) if isinstance(raw, dict) else None
    what = unknown.what.partition(";")[0]
    what += f"; its default {default!r} is used" if default else "; the file's name is used"
    return default, replace(unknown, what=what, advice="set another name with --name")


def defaults_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a template's parameters."""
    declared = template.get("Parameters")
    found = declared.items() if isinstance(declared, dict) else ()
    return {
        name: raw["Default"] for name, raw in found if isinstance(raw, dict) and "Default" in raw
    }


def _rest(
    template: Mapping[str, Any], carried: Collection[str], variables: Collection[str]
) -> Iterator[Loss]:
    """The parts of a template that are not carried over. A parameter may be a variable instead."""
    resources = template["Resources"]
    found = {"/Resources": [other for other in resources if other not in carried]}
    for name in resources:
        if name in carried:
            known = {"Type", "Properties"}
            if resources[name]["Type"] != RESOURCE:
                known.add("Condition")  # has its own loss
            found[f"/Resources/{name}"] = [one for one in resources[name] if one not in known]
    for part in _PARTS:
        value = template.get(part) or ()
        found[f"/{part}"] = [part] if isinstance(value, str) else list(value)
    found["/Parameters"] = [one for one in found["/Parameters"] if f"${{{one}}}" not in variables]
    for pointer, names in found.items():
        if names:
            what = f"not carried over from the template: {', '.join(map(shown, names))}"
            yield Loss("template-rest", "info", pointer, what, "sagemaker")
