"""Tasks of sagebridge operators in a DAG that also has other tasks."""

from __future__ import annotations

from typing import Any

from sagebridge.authoring.step_outputs import output_property
from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Fallback,
    Output,
    Part,
    RunTimeValue,
    Values,
)
from sagebridge.model.expressions import Template
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


def is_mapped_step(task: Any) -> bool:
    """Whether a mapped task is of a sagebridge operator for a type of SageMaker."""
    return getattr(task.operator_class, "step_type", None) in STEP_TYPES


def output_of(step: Step) -> Output:
    """The XComs of a sagebridge operator that are properties of its step."""

    def output(key: str, path: tuple[Part, ...]) -> Value:
        found = output_property(step, path if key == RETURN_VALUE else (key, *path))
        if found is None:
            raise RunTimeValue("xcom", "an output that is not a property of the step")
        return found

    return output
