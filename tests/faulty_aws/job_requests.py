"""Minimal jobs: their Create requests, and calls of any kind of job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::111122223333:role/sagebridge"
_INSTANCE = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}


def training(name: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
        "ResourceConfig": _INSTANCE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"max_depth": "5"},
        "Environment": {"A": "b"},
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def processing(name: str) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {"ClusterConfig": _INSTANCE},
        "Environment": {"A": "b"},
    }


def transform(name: str) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}
    return {
        "TransformJobName": name,
        "ModelName": "model",
        "TransformInput": {"DataSource": source},
        "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }


KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "Training": training,
    "Processing": processing,
    "Transform": transform,
}
FOREVER = float("inf")


def create(client: Any, kind: str, name: str) -> dict[str, Any]:
    return dict(getattr(client, f"create_{kind.lower()}_job")(**KINDS[kind](name)))


def describe(client: Any, kind: str, name: str) -> dict[str, Any]:
    found = getattr(client, f"describe_{kind.lower()}_job")(**{f"{kind}JobName": name})
    assert isinstance(found["CreationTime"], datetime)
    return dict(found)


def stop(client: Any, kind: str, name: str) -> None:
    getattr(client, f"stop_{kind.lower()}_job")(**{f"{kind}JobName": name})


def statuses(client: Any, kind: str, name: str, looks: int) -> list[str]:
    return [describe(client, kind, name)[f"{kind}JobStatus"] for _ in range(looks)]


def client_error(call: Callable[[], object]) -> tuple[str, str, int]:
    """The code, message and HTTP status of the ClientError of a call."""
    with pytest.raises(ClientError) as caught:
        call()
    answer: Any = caught.value.response
    error = answer["Error"]
    return error["Code"], error["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]
