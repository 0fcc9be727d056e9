"""The writers of CreatePipeline requests and CloudFormation templates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sagebridge.authoring.aws_arns import legal_name
from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.authoring.json_document import dump
from sagebridge.formats.sagemaker.cloudformation import PROPERTIES, RESOURCE
from sagebridge.formats.sagemaker.cloudformation_schedules import (
    VARIABLE,
    logical_id,
    reference,
    write_schedules,
)
from sagebridge.formats.sagemaker.eventbridge_writer import unscheduled
from sagebridge.formats.sagemaker.writer import limit_losses
from sagebridge.model.code_removal import with_fail_steps
from sagebridge.model.connections import connection_losses
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

ROLE = "RoleArn"
_VERSION_FIELDS = ("PipelineVersionDisplayName", "PipelineVersionDescription")
"""Fields of a DescribePipeline response that are set by UpdatePipelineVersion only."""


def write_request(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """A CreatePipeline or UpdatePipeline request, for boto3 and ``--cli-input-json``."""
    request, losses = _request(pipeline)
    losses += _remove(request, [name for name in _VERSION_FIELDS if name in request], "request")
    if ROLE not in request:
        advice = f"add {ROLE} before you create the pipeline"
        losses.append(_no_role("the pipeline has no execution role", advice))
    losses += unscheduled(pipeline, "request")
    return dump(request), tuple(losses)


def write_template(
    pipeline: Pipeline, reading: Sequence[Loss] = ()
) -> tuple[str, tuple[Loss, ...]]:
    """A CloudFormation template with a pipeline, and its schedules, rules and pipes."""
    properties, losses = _request(pipeline)
    losses += _remove(properties, [one for one in properties if one not in PROPERTIES], "template")
    body = properties["PipelineDefinition"]
    properties["PipelineDefinition"] = {"PipelineDefinitionBody": body}
    parameters: dict[str, Any] = {}
    # A role that was read as ${RoleArn} comes from a template with a parameter for it.
    if variable := VARIABLE.fullmatch(str(properties.get(ROLE, f"${{{ROLE}}}"))):
        what = "the pipeline has no execution role, so the template has a parameter for it"
        losses.append(_no_role(what, f"deploy with --parameter-overrides {variable[1]}=ARN"))
        description = "The role that the pipeline's executions assume"
        properties[ROLE] = reference(variable[1], description, parameters)
    name = logical_id(properties["PipelineName"])
    resources = {name: {"Type": RESOURCE, "Properties": properties}}
    scheduled, lost = write_schedules(pipeline, name, properties["PipelineName"], parameters)
    template: dict[str, Any] = {"AWSTemplateFormatVersion": "2010-09-09"}
    if parameters:
        template["Parameters"] = parameters
    template["Resources"] = {**resources, **scheduled}
    return dump(template), (*losses, *lost)


def _request(pipeline: Pipeline) -> tuple[dict[str, Any], list[Loss]]:
    pipeline, dropped_code = with_fail_steps(pipeline)
    envelope = write_envelope(pipeline)
    name = legal_name(pipeline.name)
    losses = [*dropped_code, *(loss for _, loss in connection_losses(pipeline, "sagemaker"))]
    losses += limit_losses(pipeline)
    if name != pipeline.name:
        found = f"SageMaker does not allow the name {shown(pipeline.name)}"
        losses.append(
            Loss(
                "pipeline-name",
                "changed",
                "",
                f"{found if pipeline.name else 'the pipeline has no name'}; it becomes {name!r}",
                "sagemaker",
                "set another with --name",
            )
        )
    text = json.dumps(definition(pipeline), ensure_ascii=False, allow_nan=False)
    envelope.pop("PipelineName", None)
    return {"PipelineName": name, **envelope, "PipelineDefinition": text}, losses


def _remove(request: dict[str, Any], names: list[str], document: str) -> list[Loss]:
    """Remove fields that a document cannot have; return the loss that names them."""
    for name in names:
        del request[name]
    what = f"not part of a {document}: {', '.join(names)}"
    fix = "use --as create-pipeline" if document == "template" else "call UpdatePipelineVersion"
    return [Loss("beside-definition", "dropped", "", what, "sagemaker", fix)] if names else []


def _no_role(what: str, advice: str) -> Loss:
    return Loss("role-missing", "info", "", what, "sagemaker", advice)
