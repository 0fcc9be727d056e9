"""Read the ``AWS::SageMaker::Pipeline`` of a CloudFormation template.

CloudFormation evaluates the functions of a template when it deploys. sagebridge does not guess
their values: each is a loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.display import shown
from sagebridge.model.losses import Loss, Severity
from sagebridge.model.visit import escape, nodes

RESOURCE = "AWS::SageMaker::Pipeline"
_VARIABLE = re.compile(r"\$\{(?!!)([^}]{1,200})\}")
PROPERTIES = frozenset(
    (
        "PipelineName",
        "PipelineDisplayName",
        "PipelineDescription",
        "PipelineDefinition",
        "RoleArn",
        "Tags",
        "ParallelismConfiguration",
    )
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

    ``envelope`` has the other properties.
    """

    definition: str
    pointer: str
    envelope: dict[str, Any]
    losses: tuple[Loss, ...]


def is_template(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("Resources"), dict) and "Steps" not in value


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
    text, lost = _definition(properties.get("PipelineDefinition"), pointer)
    envelope: dict[str, Any] = {}
    losses = [*lost, *_rest(template, name, raw)]
    for key, raw_value in properties.items():
        if key != "PipelineDefinition":
            value, more = _value(raw_value, f"{pointer}/{escape(key)}", template)
            envelope |= {} if value is None and more else {key: value}
            losses += more
    body = f"{pointer}/PipelineDefinition/PipelineDefinitionBody"
    return Resource(text, body, envelope, tuple(losses))


def _definition(raw: Any, pointer: str) -> tuple[str, list[Loss]]:
    pointer = f"{pointer}/PipelineDefinition"
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
    match body:
        case str():
            return body, []
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), *_]}:
            variables = dict.fromkeys(_VARIABLE.findall(text))
            return text.replace("${!", "${"), [_variable(pointer, name) for name in variables]
        case {"Fn::ToJsonString": dict(definition)} | ({"Steps": _} as definition):
            return json.dumps(definition), []
    raise NoPipeline(f"{pointer}: expected a string, Fn::Sub or Fn::ToJsonString")


def _variable(pointer: str, name: str) -> Loss:
    return Loss(
        "template-function",
        "changed",
        pointer,
        f"${{{name}}} is set by CloudFormation; it is kept as a string",
        "sagemaker",
        f"set its value with --map '${{{name}}}=VALUE'",
    )


def _value(raw: Any, pointer: str, template: Mapping[str, Any]) -> tuple[Any, list[Loss]]:
    """The value of a property; None if it is a function without a known value."""
    names = (str(name) for node in nodes(raw) if isinstance(node, dict) for name in node)
    if not any(name == "Ref" or name.startswith("Fn::") for name in names):
        return raw, []
    severity: Severity = "dropped"
    value, what = None, f"{pointer.rpartition('/')[2]} is {shown(json.dumps(raw))}"
    match raw:
        case {"Ref": str(name)} if name in (template.get("Parameters") or {}):
            value = template["Parameters"][name].get("Default")
            severity = "info" if value is None else "changed"
            what += ", set at deployment" if value is None else f"; its default {value!r} is used"
    return value, [Loss("template-function", severity, pointer, what, "sagemaker")]


def _rest(template: Mapping[str, Any], name: str, raw: Mapping[str, Any]) -> Iterator[Loss]:
    others = [other for other in template["Resources"] if other != name]
    attributes = [other for other in raw if other not in ("Type", "Properties")]
    found = {"/Resources": others, f"/Resources/{name}": attributes}
    for pointer, names in found.items():
        if names:
            what = f"not carried over from the template: {', '.join(map(shown, names))}"
            yield Loss("template-rest", "info", pointer, what, "sagemaker")
