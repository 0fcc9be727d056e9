"""The text of a definition, in the form and order that the SageMaker SDK writes."""

from __future__ import annotations

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.authoring.json_document import dump
from sagebridge.model.code_steps import without_carried
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline


def write(pipeline: Pipeline) -> tuple[str, tuple[Loss, ...]]:
    """Definition text, two-space JSON, without what AWS keeps beside it and carried code."""
    pipeline, left_out = without_carried(pipeline)
    beside = [name for name in write_envelope(pipeline) if name != "PipelineName"]
    losses = (
        Loss(
            "beside-definition",
            "dropped",
            "",
            f"a definition has no place for {', '.join(beside)}",
            "sagemaker",
            "--as create-pipeline or --as cloudformation has",
        ),
    )
    return dump(definition(pipeline)), (*left_out, *(losses if beside else ()))
