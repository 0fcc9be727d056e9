"""Definitions of pipelines whose steps run one line of Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

ROLE = "arn:aws:iam::111122223333:role/r"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}

SLEEP = "import sys, time; time.sleep(float(sys.argv[1]))"
# Wait until the file in the argument exists; with a limit, as the test may be killed.
HOLD = (
    "import os, sys, time\n"
    "print('holding', flush=True)\n"
    "until = time.monotonic() + 600\n"
    "while not os.path.exists(sys.argv[1]) and time.monotonic() < until: time.sleep(0.1)\n"
)
FAIL = "import sys; print('reading the shells'); sys.exit('ValueError: a shell without rings')"


def pipeline(*steps: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """A definition; ``parameters`` maps names to types, without defaults."""
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": type_} for name, type_ in parameters.items()],
        "Steps": list(steps),
    }


def processing(
    name: str, code: str, *arguments: Any, after: Sequence[str] = (), source: str | None = None
) -> dict[str, Any]:
    """A Processing step of ``python3 -c code``; ``source`` is the URI of its input."""
    request: dict[str, Any] = {
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": RESOURCES},
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", code],
            "ContainerArguments": list(arguments) or ["-"],
        },
    }
    if source:
        s3 = {"S3Uri": source, "S3DataType": "S3Prefix", "LocalPath": "/opt/ml/processing/input"}
        request["ProcessingInputs"] = [{"InputName": "data", "S3Input": s3}]
    return {"Name": name, "Type": "Processing", "Arguments": request, "DependsOn": list(after)}


def evaluation(name: str, report: Any) -> dict[str, Any]:
    """A Processing step that writes the property file ``Report``."""
    code = "import sys; open('/opt/ml/processing/out/report.json', 'w').write(sys.argv[1])"
    step = processing(name, code, json.dumps(report))
    s3 = {"S3Uri": f"s3://bucket/{name}", "LocalPath": "/opt/ml/processing/out"}
    output = {"OutputName": "evaluation", "S3Output": {**s3, "S3UploadMode": "EndOfJob"}}
    step["Arguments"]["ProcessingOutputConfig"] = {"Outputs": [output]}
    file = {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "report.json"}
    return step | {"PropertyFiles": [file]}


def reported(step: str, path: str) -> dict[str, Any]:
    """A value from the report of an evaluation."""
    file = {"Get": f"Steps.{step}.PropertyFiles.Report"}
    return {"Std:JsonGet": {"PropertyFile": file, "Path": path}}


def at_most(
    name: str,
    left: Any,
    right: Any,
    then: Sequence[dict[str, Any]],
    other: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A Condition step."""
    compared = {"Type": "LessThanOrEqualTo", "LeftValue": left, "RightValue": right}
    arguments = {"Conditions": [compared], "IfSteps": list(then), "ElseSteps": list(other)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def fail(name: str, message: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def training(name: str, code: str, *arguments: Any) -> dict[str, Any]:
    """A Training step of ``python3 -c code``."""
    request = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-c", code],
            "ContainerArguments": list(arguments),
        },
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    return {"Name": name, "Type": "Training", "Arguments": request}
