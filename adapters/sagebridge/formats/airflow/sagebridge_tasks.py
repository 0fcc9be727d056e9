"""Tasks of sagebridge operators in a DAG that also has other tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Fallback,
    Output,
    Part,
    RunTimeValue,
    Values,
    tokens_of,
)
from sagebridge.model.expressions import Get, Member, Template
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import Value


def step_of(task: Any, values: Values, fallback: Fallback) -> Step:
    """The step of a sagebridge operator, with the XComs in its arguments as values of the model."""
    step: Step = task.step
    found = task.run_time_values

    def change(node: Value) -> Value:
        if not isinstance(node, Template) or node.text not in found:
            return node
        value = found[node.text]
        return values.of(getattr(value, "given", value), fallback)  # of a parameter

    return step.replaced(change) if found else step


def output_of(step: Step) -> Output:
    """The XComs of a sagebridge operator that are properties of its step."""
    row = STEP_TYPES.get(step.type)
    resource = row.resource if row is not None else ""
    known = dict(_PROPERTIES.get(step.type, {}))
    if resource:
        known |= {"job_name": (f"{resource}Name",), "job_arn": (f"{resource}Arn",)}

    def output(key: str, path: tuple[Part, ...]) -> Value:
        keys = path if key == RETURN_VALUE else (key, *path)
        match keys:
            case ("outputs", str(name)) if step.type == "Processing":
                members: tuple[Part, ...] = (*_OUTPUTS, name, "S3Output", "S3Uri")
            case (str(name),) if name in known:
                members = known[name]
            case _:
                raise RunTimeValue("xcom", "an output that is not a property of the step")
        return Get("Steps", (Member(step.name), *tokens_of({}, members)))

    return output


_PROPERTIES: Mapping[str, Mapping[str, tuple[Part, ...]]] = {
    "Training": {"model_artifact": ("ModelArtifacts", "S3ModelArtifacts")},
    "Transform": {"output": ("TransformOutput", "S3OutputPath")},
    "Model": {"model_name": ("ModelName",)},
    "RegisterModel": {"model_package_arn": ("ModelPackageArn",)},
    "Condition": {"outcome": ("Outcome",)},
}
_OUTPUTS = ("ProcessingOutputConfig", "Outputs")
