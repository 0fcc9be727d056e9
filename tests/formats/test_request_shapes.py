"""Arguments are checked against the API that they go to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.request_shapes import operation_shape
from sagebridge.model.step_types import STEP_TYPES

TRAINING: dict[str, Any] = {
    "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
PARAMETER = {"Get": "Parameters.P"}
PARAMETERS = [
    {"Name": "Text", "Type": "String"},
    {"Name": "Untyped"},
    {"Name": "Count", "Type": "Integer"},
    {"Name": "Rate", "Type": "Float"},
    {"Name": "Flag", "Type": "Boolean"},
    {"Name": "Prefix", "Type": "String", "DefaultValue": "nightly"},
    {"Name": "BadPrefix", "Type": "String", "DefaultValue": "night ly"},
]


def check(type_: str, arguments: Any) -> list[tuple[str, str, str]]:
    """Code, severity and pointer (below the arguments) of each finding."""
    steps = [
        {"Name": "First", "Type": "Training", "Arguments": TRAINING},
        {
            "Name": "Call",
            "Type": "Lambda",
            "FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:f",
            "OutputParameters": [{"OutputName": "n", "OutputType": "Integer"}],
        },
        {"Name": "Step", "Type": type_, "Arguments": arguments},
    ]
    definition = {"Version": "2020-12-01", "Parameters": PARAMETERS, "Steps": steps}
    return [
        (one.code, one.severity, one.pointer.removeprefix("/Steps/2/Arguments"))
        for one in sagebridge.validate(definition)
    ]


def training(path: str, value: Any) -> dict[str, Any]:
    """A Training request with the value at a dotted path; ``...`` removes the key."""
    request: dict[str, Any] = json.loads(json.dumps(TRAINING))
    *parents, last = path.split(".")
    inside = request
    for name in parents:
        inside = inside.setdefault(name, {})
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return request


def test_complete_request_has_no_findings() -> None:
    assert check("Training", TRAINING) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ResourceConfig.InstanceCount", "2"),
        ("ResourceConfig.InstanceCount", 1.5),
        ("ResourceConfig.InstanceCount", {"Get": "Parameters.Text"}),
        ("ResourceConfig.InstanceCount", {"Get": "Parameters.Untyped"}),
        ("ResourceConfig.InstanceCount", {"Get": "Parameters.Rate"}),
        ("ResourceConfig.InstanceCount", {"Std:Join": {"On": "", "Values": ["1"]}}),
        ("ResourceConfig.InstanceType", 5),
        ("ResourceConfig.InstanceType", {"Type": "ParameterString", "Name": "Kind"}),
        ("ResourceConfig", {"Get": "Parameters.Text"}),
        ("ResourceConfig", []),
        ("InputDataConfig", {"ChannelName": "train"}),
        ("EnableNetworkIsolation", "true"),
        ("EnableNetworkIsolation", {"Get": "Parameters.Count"}),
        ("HyperParameters", {"depth": 5}),
        ("AlgorithmSpecification.TrainingImage", {"Get": "Steps.First.ResourceConfig"}),
    ],
)
def test_wrong_type_is_an_error(path: str, value: Any) -> None:
    findings = check("Training", training(path, value))
    assert findings[0][:2] == ("wrong-type", "error")
    assert findings[0][2].startswith("/" + path.replace(".", "/"))


@pytest.mark.parametrize("name", ["Count", "Rate", "Flag"])
@pytest.mark.parametrize(
    "path", ["HyperParameters.x", "AlgorithmSpecification.ContainerArguments", "Environment.X"]
)
def test_reference_that_is_not_a_string_is_a_warning(name: str, path: str) -> None:
    value: Any = {"Get": f"Parameters.{name}"}
    value = [value] if path.endswith("Arguments") else value
    (finding,) = check("Training", training(path, value))
    assert finding[:2] == ("wrong-type", "warning")


def test_reference_to_an_output_has_its_declared_type() -> None:
    output = {"Get": "Steps.Call.OutputParameters['n']"}
    assert check("Training", training("ResourceConfig.InstanceCount", output)) == []
    assert check("Training", training("HyperParameters.n", output))[0][0] == "wrong-type"
    assert (
        check("Training", training("OutputDataConfig.S3OutputPath", output))[0][0] == "wrong-type"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ResourceConfig.InstanceCount", {"Get": "Parameters.Count"}),
        ("ResourceConfig.InstanceCount", {"Get": "Steps.First.ResourceConfig.InstanceCount"}),
        ("HyperParameters.x", {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Count"}]}}),
        ("HyperParameters.x", {"Get": "Execution.PipelineExecutionId"}),
        ("ResourceConfig", {"Get": "Steps.First.ResourceConfig"}),
        ("Environment", None),
        ("StoppingCondition.MaxRuntimeInSeconds", 60.0),
    ],
)
def test_right_type_has_no_finding(path: str, value: Any) -> None:
    assert check("Training", training(path, value)) == []


@pytest.mark.parametrize("declared", [["Integer"], None, "Date", 3])
def test_declaration_of_unknown_type_allows_any_reference(declared: Any) -> None:
    steps = [{"Name": "A", "Type": "Training", "Arguments": training("RoleArn", PARAMETER)}]
    parameters = [{"Name": "P", "Type": declared}]
    definition = {"Version": "2020-12-01", "Parameters": parameters, "Steps": steps}
    assert [one.pointer for one in sagebridge.validate(definition)] == ["/Parameters/0/Type"]


def test_missing_key_is_an_error() -> None:
    assert check("Training", training("OutputDataConfig", ...)) == [("missing-member", "error", "")]
    assert check("Training", training("OutputDataConfig.S3OutputPath", ...)) == [
        ("missing-member", "error", "/OutputDataConfig")
    ]


def test_keys_that_the_service_fills_in_may_be_missing() -> None:
    assert check("Model", {"PrimaryContainer": {"Image": "image:1"}}) == []
    assert check("Model", {"ModelName": "x", "PrimaryContainer": {"Image": "image:1"}}) == []


def test_unknown_key_is_a_warning_with_a_suggestion() -> None:
    arguments = training("ResourceConfig.InstanceCnt", 2)
    definition = {
        "Version": "2020-12-01",
        "Steps": [{"Name": "Fit", "Type": "Training", "Arguments": arguments}],
    }
    (finding,) = sagebridge.validate(definition)
    assert (finding.code, finding.severity) == ("unknown-member", "warning")
    assert finding.pointer == "/Steps/0/Arguments/ResourceConfig/InstanceCnt"
    assert "did you mean 'InstanceCount'?" in finding.message


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("ResourceConfig.InstanceCount", -1, ("out-of-bounds", "error")),
        ("StoppingCondition.MaxRuntimeInSeconds", 0, ("out-of-bounds", "error")),
        ("OutputDataConfig.KmsKeyId", "x" * 2049, ("out-of-bounds", "error")),
        ("ResourceConfig.InstanceType", "ml.m5.lrge", ("unknown-value", "warning")),
        ("RoleArn", "not an ARN, but long enough", ("pattern", "warning")),
    ],
)
def test_limits(path: str, value: Any, expected: tuple[str, str]) -> None:
    (finding,) = check("Training", training(path, value))
    assert finding == (*expected, "/" + path.replace(".", "/"))


def test_reference_to_a_property_that_no_response_has_is_a_warning() -> None:
    value = {"Get": "Steps.First.ModelArtifact.S3ModelArtifacts"}
    (finding,) = check("Model", {"PrimaryContainer": {"Image": "i", "ModelDataUrl": value}})
    assert finding[:2] == ("unknown-property", "warning")
    right = {"Get": "Steps.First.ModelArtifacts.S3ModelArtifacts"}
    assert check("Model", {"PrimaryContainer": {"Image": "i", "ModelDataUrl": right}}) == []


def test_nested_requests_of_emr() -> None:
    step = {"HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", 5]}}
    assert check("EMR", {"ClusterId": "j-1", "StepConfig": step}) == [
        ("wrong-type", "error", "/StepConfig/HadoopJarStep/Args/1")
    ]


@pytest.mark.parametrize("row", STEP_TYPES.values(), ids=lambda row: row.name)
def test_every_operation_of_a_step_type_is_in_the_table(row: Any) -> None:
    for operation in (*row.requests.values(), *row.outputs):
        assert operation_shape(operation) is not None, operation
    shapes = [operation_shape(one) for one in row.requests.values()]
    for name in row.filled_in:
        assert any(shape and name in shape.members for shape in shapes), name


def test_sdk_definitions_have_no_errors(corpus: Path) -> None:
    for file in sorted((corpus / "definitions").glob("*.json")):
        assert [one for one in sagebridge.validate(str(file)) if one.severity == "error"] == []


@pytest.mark.parametrize(
    "name", ["nightly-train", {"Get": "Parameters.Prefix"}, {"Get": "Parameters.Text"}]
)
def test_prefix_of_job_names_is_valid(name: Any) -> None:
    assert check("Training", training("TrainingJobName", name)) == []


@pytest.mark.parametrize("name", ["night ly", "a_b", "-a", {"Get": "Parameters.BadPrefix"}])
def test_invalid_prefix_of_job_names_is_an_error(name: Any) -> None:
    found = check("Training", training("TrainingJobName", name))
    assert found == [("pattern", "error", "/TrainingJobName")]
