"""Requests for jobs and models of the local backend, and helpers for tests of its client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.local.conftest import Bench

_REGISTRY = "0.dkr.ecr.eu-west-1.amazonaws.com"
ROLE = "arn:aws:iam::000000000000:role/x"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.0-1"
INSTANCE = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
S3_INPUT = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/batch"}}

PROCESSING: dict[str, Any] = {
    "ProcessingJobName": "job",
    "ProcessingResources": {"ClusterConfig": INSTANCE},
    "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", "print(1)"]},
    "Environment": {"A": "b"},
    "RoleArn": ROLE,
    "Tags": [{"Key": "k", "Value": "v"}],
}
TRAINING: dict[str, Any] = {
    "TrainingJobName": "job",
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "-c", "print(1)"],
    },
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": INSTANCE,
    "HyperParameters": {"num_round": "5"},
}
TRANSFORM: dict[str, Any] = {
    "TransformJobName": "job",
    "ModelName": "model",
    "TransformInput": {"DataSource": S3_INPUT},
    "TransformOutput": {"S3OutputPath": "s3://bucket/predictions"},
    "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge"},
}
REQUESTS = {"Processing": PROCESSING, "Training": TRAINING, "Transform": TRANSFORM}
MODEL: dict[str, Any] = {
    "ModelName": "model",
    "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"},
    "ExecutionRoleArn": ROLE,
}
INFERENCE = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


def create(sagemaker: Any, kind: str, name: str = "job") -> dict[str, Any]:
    if kind == "Transform" and not sagemaker.list_models()["Models"]:
        sagemaker.create_model(**MODEL)
    request = REQUESTS[kind] | {f"{kind}JobName": name}
    return dict(getattr(sagemaker, f"create_{kind.lower()}_job")(**request))


def call(sagemaker: Any, verb: str, kind: str, name: str = "job") -> dict[str, Any]:
    method = getattr(sagemaker, f"{verb}_{kind.lower()}_job")
    return dict(method(**{f"{kind}JobName": name}))


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def image_job(bench: Bench, image: str, inputs: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A processing job of an image; ``inputs`` maps names to S3 prefixes."""
    found = bench.processing(
        "",
        inputs={name: (uri, f"/opt/ml/processing/input/{name}") for name, uri in inputs.items()},
        outputs={"analysis_result": ("s3://bucket/out", "/opt/ml/processing/output")},
        **more,
    )
    return found | {"AppSpecification": {"ImageUri": f"{_REGISTRY}/{image}"}}
