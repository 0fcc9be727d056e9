"""The outputs of a step that tasks after it use, such as ``model_artifact``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sagebridge.model.expressions import Get, Key, Member, Token
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import STEP_TYPES

_PROPERTIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Training": {"model_artifact": ("ModelArtifacts", "S3ModelArtifacts")},
    "Transform": {"output": ("TransformOutput", "S3OutputPath")},
    "Model": {"model_name": ("ModelName",)},
    "RegisterModel": {"model_package_arn": ("ModelPackageArn",)},
    "Condition": {"outcome": ("Outcome",)},
}


def output_property(step: Step, keys: Sequence[object]) -> Get | None:
    """The property of a step that has the value of an output; None if no property has it.

    ``keys`` is a path such as ``("outputs", "train")``.
    """
    tokens: tuple[Token, ...]
    row = STEP_TYPES.get(step.type)
    resource = row.resource if row is not None else ""
    match tuple(keys):
        case ("outputs", str(name)) if step.type == "Processing":
            own = (Member("ProcessingOutputConfig"), Member("Outputs"), Key(name))
            tokens = (*own, Member("S3Output"), Member("S3Uri"))
        case (str(name),) if name in (properties := _PROPERTIES.get(step.type, {})):
            tokens = tuple(map(Member, properties[name]))
        case ("job_name" | "job_arn" as name,) if resource:
            tokens = (Member(resource + ("Name" if name == "job_name" else "Arn")),)
        case _:
            return None
    return Get("Steps", (Member(step.name), *tokens))
