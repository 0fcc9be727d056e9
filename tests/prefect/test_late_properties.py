"""Properties of ended steps that no step referred to before, as in a flow with a plain ``if``."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.model.expressions import get
from sagebridge.model.pipeline import Step
from sagebridge_operators.steps.check_baselines import FLAGS
from tests.fakes import FakeBackend

FOLDER = {"OutputName": "quality_check_output", "S3Output": {"S3Uri": "s3://b/out"}}
JOB = {
    "ProcessingJobName": "job",
    "ProcessingOutputConfig": {"Outputs": [FOLDER]},
    "Environment": {
        FLAGS: '{"type": "DATA_QUALITY", "skip": true, "register": true, "fail": true}'
    },
}
OUTPUTS = {
    "Check": {"job": {"name": "job"}, "properties": {"ProcessingJobName": "job"}},
    "Lin": {"job": {"name": "run"}, "action_arns": {"run": "arn:run"}, "properties": {}},
}
STEPS = {"Check": Step("Check", "QualityCheck"), "Lin": Step("Lin", "Lineage")}


class Described(FakeBackend):
    def client(self, service: str) -> Any:
        class Client:
            def describe_processing_job(self, **request: Any) -> Any:
                return JOB

        return Client()


@pytest.mark.parametrize(
    ("step", "path", "value"),
    [
        ("Check", "CalculatedBaselineConstraints", "s3://b/out/constraints.json"),
        ("Lin", "ActionArns['run']", "arn:run"),
    ],
)
def test_late_properties(step: str, path: str, value: str) -> None:
    from sagebridge_operators.prefect.opened_execution import (
        properties_of_ended,
        with_late_properties,
    )

    outputs, reference = OUTPUTS[step], get(f"Steps.{step}.{path}")
    late = with_late_properties(STEPS[step], outputs, [reference], Described())
    assert late["properties"] == {**outputs["properties"], path: value}
    assert value in str(properties_of_ended(STEPS[step], outputs, Described()))
