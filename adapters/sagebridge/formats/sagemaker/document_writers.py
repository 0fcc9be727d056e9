"""A definition inside what AWS takes: a CreatePipeline request, a CloudFormation template."""

from __future__ import annotations

import json
import re
from typing import Any

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.authoring.json_document import dump
from sagebridge.formats.sagemaker.cloudformation import PROPERTIES, RESOURCE
from sagebridge.model.code_steps import without_carried
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

ROLE = "RoleArn"
_VERSION_FIELDS = ("PipelineVersionDisplayName", "PipelineVersionDescription")
"""Fields of a DescribePipeline response that are set by UpdatePipelineVersion only."""


def write_request(pipeline: Pipeline) -> tuple[str, tuple[Loss, ...]]:
    """A CreatePipeline or UpdatePipeline request, for boto3 and ``--cli-input-json``."""
    request, losses = _request(pipeline)
    losses += _without(request, [name for name in _VERSION_FIELDS if name in request], "request")
    if ROLE not in request:
        advice = f"put a {ROLE} in before you create the pipeline"
        losses.append(_no_role("the request has no role for the execution", advice))
    return dump(request), tuple(losses)


def write_template(pipeline: Pipeline) -> tuple[str, tuple[Loss, ...]]:
    """A CloudFormation template of one ``AWS::SageMaker::Pipeline``."""
    properties, losses = _request(pipeline)
    losses += _without(properties, [one for one in properties if one not in PROPERTIES], "template")
    body = properties["PipelineDefinition"]
    properties["PipelineDefinition"] = {"PipelineDefinitionBody": body}
    template: dict[str, Any] = {"AWSTemplateFormatVersion": "2010-09-09"}
    if ROLE not in properties:
        what = "the pipeline names no role; the template has a parameter for it"
        losses.append(_no_role(what, f"deploy with --parameter-overrides {ROLE}=ARN"))
        description = "The role that the pipeline's executions assume"
        template["Parameters"] = {ROLE: {"Type": "String", "Description": description}}
        properties[ROLE] = {"Ref": ROLE}
    template["Resources"] = {
        _logical_id(properties["PipelineName"]): {"Type": RESOURCE, "Properties": properties}
    }
    return dump(template), tuple(losses)


def _request(pipeline: Pipeline) -> tuple[dict[str, Any], list[Loss]]:
    pipeline, left_out = without_carried(pipeline)
    envelope = write_envelope(pipeline)
    name = re.sub(r"[^A-Za-z0-9]+", "-", pipeline.name or "pipeline")[:256].strip("-") or "pipeline"
    losses = list(left_out)
    if name != pipeline.name:
        found = f"the name {shown(pipeline.name)}" if pipeline.name else "no name"
        losses.append(
            Loss(
                "pipeline-name",
                "changed",
                "",
                f"the pipeline has {found}, which SageMaker does not take: {name!r} is written",
                "sagemaker",
                "--name gives another",
            )
        )
    text = json.dumps(definition(pipeline), ensure_ascii=False, allow_nan=False)
    envelope.pop("PipelineName", None)
    return {"PipelineName": name, **envelope, "PipelineDefinition": text}, losses


def _without(request: dict[str, Any], names: list[str], document: str) -> list[Loss]:
    """Remove fields that a document has no place for; the loss that names them."""
    for name in names:
        del request[name]
    what = f"a {document} has no place for {', '.join(names)}"
    fix = "--as create-pipeline has" if document == "template" else "call UpdatePipelineVersion"
    return [Loss("beside-definition", "dropped", "", what, "sagemaker", fix)] if names else []


def _no_role(what: str, advice: str) -> Loss:
    return Loss("role-missing", "info", "", what, "sagemaker", advice)


def _logical_id(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))[:255]
