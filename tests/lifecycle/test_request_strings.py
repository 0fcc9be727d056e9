"""Numbers of parameters in fields of a request that are strings."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.model.expressions import join, parameter, plain
from sagebridge_operators.lifecycle.job_request import with_strings

VALUES = {"Depth": 5, "Rate": 0.5, "Debug": True, "Name": "x"}


def resolved(value: Any) -> Any:
    """The value with the parameters above."""
    if isinstance(value, dict):
        return {name: resolved(item) for name, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    return VALUES[value.name] if hasattr(value, "root") else value


@pytest.mark.parametrize(
    ("step_type", "arguments", "expected"),
    [
        (
            "Training",
            {
                "HyperParameters": {
                    "depth": parameter("Depth"),
                    "rate": parameter("Rate"),
                    "debug": parameter("Debug"),
                    "name": parameter("Name"),
                },
                "ResourceConfig": {"InstanceCount": parameter("Depth")},
                "EnableManagedSpotTraining": parameter("Debug"),
            },
            {
                "HyperParameters": {"depth": "5", "rate": "0.5", "debug": "true", "name": "x"},
                "ResourceConfig": {"InstanceCount": 5},
                "EnableManagedSpotTraining": True,
            },
        ),
        (
            "Processing",
            {"AppSpecification": {"ContainerArguments": ["--depth", parameter("Depth"), 7]}},
            {"AppSpecification": {"ContainerArguments": ["--depth", "5", 7]}},
        ),
        (
            "EMR",
            {"StepConfig": {"HadoopJarStep": {"Args": [parameter("Rate")]}}},
            {"StepConfig": {"HadoopJarStep": {"Args": ["0.5"]}}},
        ),
        ("Lambda", {"depth": parameter("Depth")}, {"depth": 5}),
    ],
)
def test_references_fit_the_strings_of_the_api(
    step_type: str, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert with_strings(step_type, plain(arguments), resolved(arguments)) == expected


def test_joined_strings_stay() -> None:
    arguments = {"HyperParameters": {"a": join("", 1)}}
    assert with_strings("Training", plain(arguments), {"HyperParameters": {"a": "1"}}) == {
        "HyperParameters": {"a": "1"}
    }
