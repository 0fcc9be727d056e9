"""Models, model packages and model package groups."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge_operators.backends.local import LocalBackend
from tests.local.api_requests import INFERENCE, MODEL, code, create


def test_create_describe_and_delete_model(sagemaker: Any) -> None:
    arn = sagemaker.create_model(**MODEL)["ModelArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:model/model"
    assert sagemaker.describe_model(ModelName="model").items() >= MODEL.items()
    with pytest.raises(ClientError, match="already existing model"):
        sagemaker.create_model(**MODEL)
    sagemaker.delete_model(ModelName="model")
    for method in (sagemaker.describe_model, sagemaker.delete_model):
        with pytest.raises(ClientError, match="Could not find model") as missing:
            method(ModelName="model")
        assert code(missing) == "ValidationException"
    with pytest.raises(ClientError, match="needs a PrimaryContainer"):
        sagemaker.create_model(ModelName="model")


def test_group_versions_are_numbered_and_approved(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="does not exist") as missing:
        sagemaker.create_model_package(ModelPackageGroupName="g")
    assert code(missing) == "ValidationException"
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_model_package_group(ModelPackageGroupName="g")
    first, second = (
        sagemaker.create_model_package(
            ModelPackageGroupName="g", InferenceSpecification=INFERENCE, **approval
        )["ModelPackageArn"]
        for approval in ({}, {"ModelApprovalStatus": "Approved"})
    )
    assert first == "arn:aws:sagemaker:us-east-1:000000000000:model-package/g/1"
    described = sagemaker.describe_model_package(ModelPackageName=first)
    assert described["ModelPackageVersion"] == 1
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["InferenceSpecification"] == INFERENCE

    def listed(**arguments: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_model_packages").paginate(**arguments)
        packages = [item for page in pages for item in page["ModelPackageSummaryList"]]
        return [package["ModelPackageArn"] for package in packages]

    assert listed(ModelPackageGroupName="g") == [first, second]
    assert listed(ModelPackageGroupName="g", ModelApprovalStatus="Approved") == [second]
    assert listed(ModelPackageType="Versioned") == [first, second]
    assert listed() == []
    sagemaker.update_model_package(
        ModelPackageArn=first, ModelApprovalStatus="Rejected", ApprovalDescription="no"
    )
    described = sagemaker.describe_model_package(ModelPackageName=first)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == (
        "Rejected",
        "no",
    )


@pytest.mark.parametrize("approval", ["approved", ""])
def test_unknown_approval_status_is_rejected(sagemaker: Any, approval: str) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    with pytest.raises(ClientError, match=r"enum value set: .*PendingManualApproval"):
        sagemaker.create_model_package(ModelPackageGroupName="g", ModelApprovalStatus=approval)


def test_package_without_group_has_no_version(sagemaker: Any) -> None:
    made = sagemaker.create_model_package(ModelPackageName="p", InferenceSpecification=INFERENCE)
    described = sagemaker.describe_model_package(ModelPackageName="p")
    assert described["ModelPackageArn"] == made["ModelPackageArn"]
    assert "ModelPackageVersion" not in described
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_model_package(ModelPackageName="p")
    with pytest.raises(ClientError, match="Give either"):
        sagemaker.create_model_package(ModelPackageName="p", ModelPackageGroupName="g")


def test_repeated_client_token_registers_one_version(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arns = {
        sagemaker.create_model_package(ModelPackageGroupName="g", ClientToken="t")[
            "ModelPackageArn"
        ]
        for _ in range(3)
    }
    assert len(arns) == 1
    other = sagemaker.create_model_package(ModelPackageGroupName="g")["ModelPackageArn"]
    assert other.endswith("/g/2")


REGISTER = """
import sys
from pathlib import Path
from sagebridge_operators.backends.local import LocalBackend

sagemaker = LocalBackend(Path(sys.argv[1]), Path()).client("sagemaker")
for _ in range(10):
    print(sagemaker.create_model_package(ModelPackageGroupName="g")["ModelPackageArn"])
"""


def test_parallel_processes_register_distinct_versions(
    backend: LocalBackend, sagemaker: Any
) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER, str(backend.home)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    arns = [arn for process in processes for arn in process.communicate(timeout=120)[0].split()]
    versions = sorted(int(arn.rpartition("/")[2]) for arn in arns)
    assert versions == list(range(1, 31))


def test_only_one_parallel_create_succeeds(sagemaker: Any) -> None:
    def won(_: int) -> bool:
        try:
            create(sagemaker, "Training")
        except sagemaker.exceptions.ResourceInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(won, range(16)))[-2:] == [False, True]
