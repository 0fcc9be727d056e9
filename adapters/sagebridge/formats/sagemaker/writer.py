"""The writer of pipeline definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.authoring.json_document import dump
from sagebridge.formats.sagemaker.eventbridge_writer import unscheduled
from sagebridge.model.code_removal import with_fail_steps
from sagebridge.model.connections import connection_losses
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline


def write(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """The definition as JSON, indented by two spaces, and the losses.

    Fields of a CreatePipeline request are not part of a definition. A Fail step takes the place of
    each task that SageMaker has no step type for.
    """
    del reading  # JSON has no comments
    pipeline, dropped_code = with_fail_steps(pipeline)
    fields = [name for name in write_envelope(pipeline) if name != "PipelineName"]
    losses = (
        Loss(
            "beside-definition",
            "dropped",
            "",
            f"not part of a definition: {', '.join(fields)}",
            "sagemaker",
            "use --as create-pipeline or --as cloudformation",
        ),
    )
    elsewhere = (loss for _, loss in connection_losses(pipeline, "sagemaker"))
    limits = limit_losses(pipeline)
    beside = (*(losses if fields else ()), *unscheduled(pipeline, "definition"))
    return dump(definition(pipeline)), (*dropped_code, *limits, *elsewhere, *beside)


def limit_losses(pipeline: Pipeline) -> Iterator[Loss]:
    """The parameters with limits, which a definition cannot express."""
    for position, parameter in enumerate(pipeline.declared):
        if parameter.limits:
            what = (
                f"parameter {shown(parameter.name)} is not checked against "
                f"{', '.join(parameter.limits)}"
            )
            yield Loss(
                "param-rule",
                "dropped",
                f"/Parameters/{position}",
                what,
                "sagemaker",
                "check the value before you start an execution",
            )
