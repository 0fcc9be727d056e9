"""Helpers for definitions with exactly the problems that a test needs."""

from __future__ import annotations

from typing import Any

import sagebridge
from sagebridge import Finding

LAMBDA: dict[str, Any] = {
    "Type": "Lambda",
    "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
    "Arguments": {},
    "OutputParameters": [{"OutputName": "o", "OutputType": "String"}],
}


ROLE = "arn:aws:iam::123456789012:role/jobs"
INSTANCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
COMPLETE: dict[str, dict[str, Any]] = {
    "Processing": {
        "AppSpecification": {"ImageUri": "image:1"},
        "ProcessingResources": {"ClusterConfig": {**INSTANCES, "VolumeSizeInGB": 10}},
    },
    "Training": {
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    },
    "Tuning": {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        },
    },
    "AutoML": {
        "InputDataConfig": [{"TargetAttributeName": "rings"}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    },
    "Transform": {
        "ModelName": "model",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
        "TransformResources": INSTANCES,
    },
}
"""The keys that a request requires, by step type."""
COMPLETE |= {"ClarifyCheck": COMPLETE["Processing"], "QualityCheck": COMPLETE["Processing"]}


def step(name: str, type_: str = "Lambda", /, **members: Any) -> dict[str, Any]:
    if type_ == "Lambda":
        return {"Name": name, **LAMBDA, **members}
    given = members.pop("Arguments", {})
    return {
        "Name": name,
        "Type": type_,
        "Arguments": {**COMPLETE.get(type_, {}), **given},
        **members,
    }


S3_OUTPUT = {
    "S3Uri": "s3://bucket/out",
    "LocalPath": "/opt/ml/processing/out",
    "S3UploadMode": "EndOfJob",
}


def processing(name: str, *files: Any, **members: Any) -> dict[str, Any]:
    outputs = [{"OutputName": "evaluation", "S3Output": S3_OUTPUT}]
    arguments = {"ProcessingOutputConfig": {"Outputs": outputs}}
    own = {"PropertyFiles": list(files)} if files else {}
    return step(name, "Processing", Arguments=arguments, **own, **members)


REPORT = {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "e.json"}


def gate(*conditions: Any, name: str = "Gate", then: Any = (), other: Any = ()) -> dict[str, Any]:
    arguments = {
        "Conditions": list(conditions),
        "IfSteps": list(then),
        "ElseSteps": list(other),
    }
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def equals(left: Any, right: Any, type_: str = "Equals") -> dict[str, Any]:
    return {"Type": type_, "LeftValue": left, "RightValue": right}


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def uses(value: Any, name: str = "A") -> dict[str, Any]:
    return step(name, Arguments={"x": value})


def output_of(name: str) -> dict[str, str]:
    return get(f"Steps.{name}.OutputParameters['o']")


def findings(*steps: Any, **members: Any) -> tuple[Finding, ...]:
    return sagebridge.validate({"Version": "2020-12-01", "Steps": list(steps), **members})


def codes(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in found]


def only(found: tuple[Finding, ...]) -> tuple[str, str, str, str]:
    (finding,) = found
    return finding.severity, finding.code, finding.pointer, finding.message
