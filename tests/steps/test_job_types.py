"""Each step type agrees with botocore's model of the API."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.model.pipeline import Step
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType
from tests.fakes import client_error, operations, sagemaker_model

TYPES = [
    pytest.param(job, id=name)
    for name, job in JOB_TYPES.items()
    if job.service == "sagemaker" and job.described
]
# Statuses of a running job; every other value of the status is final.
GOING_ON = {
    "Creating",
    "Deleting",
    "InProgress",
    "Pending",
    "RollingBack",
    "Stopping",
    "SystemUpdating",
    "Updating",
}


def shape(method: str, side: str) -> dict[str, Any]:
    model = sagemaker_model().operation_model(operations()[method])
    found = model.input_shape if side == "input" else model.output_shape
    members: dict[str, Any] = getattr(found, "members", {})
    return members


@pytest.mark.parametrize("job", TYPES)
def test_job_is_created_and_found_by_name(job: JobType) -> None:
    assert job.name_key in shape(job.create, "input")
    assert job.name_key in shape(job.describe, "input")
    assert job.name_key in shape(job.describe, "output")
    assert job.arn_key in shape(job.describe, "output")
    assert job.arn_key in shape(job.create, "output")


@pytest.mark.parametrize("job", TYPES)
def test_job_is_stopped_if_aws_can_stop_it(job: JobType) -> None:
    stop = job.create.replace("create_", "stop_")
    assert job.stop == (stop if stop in operations() else None)
    if job.stop:
        assert job.name_key in shape(job.stop, "input")


@pytest.mark.parametrize("job", TYPES)
def test_every_status_is_final_or_interim(job: JobType) -> None:
    described = shape(job.describe, "output")
    if job.status_key is None:
        assert not [name for name in described if name.endswith("Status")]
        assert job.state({}) == "Succeeded"
        return
    known = set(described[job.status_key].enum)
    assert {status for status in known if job.state({job.status_key: status}) != "Executing"} == (
        known - GOING_ON
    )
    done = "InService" if "InService" in known else "Completed"
    assert job.state({job.status_key: done}) == "Succeeded"
    assert set(job.states) - known <= {"Stopped", "RolledBack"}
    assert set(job.reason_keys) <= set(described)


@pytest.mark.parametrize("job", TYPES)
def test_default_role_fills_the_role_field(job: JobType) -> None:
    known = ("RoleArn", "ExecutionRoleArn")
    roles = {name for name in known if name in shape(job.create, "input")}
    assert roles == ({job.role_key} if job.role_key else set())
    request = job.request(Step("A", job.type), {}, name="n", token="t", role="arn:aws:iam::1:r")
    assert {key for key, value in request.items() if value == "arn:aws:iam::1:r"} == roles


@pytest.mark.parametrize("job", TYPES)
def test_role_in_arguments_is_kept(job: JobType) -> None:
    arguments = {job.role_key: "theirs"} if job.role_key else {}
    request = job.request(Step("A", job.type), arguments, name="n", token="t", role="ours")
    assert request.get(job.role_key or "") == ("theirs" if job.role_key else None)


@pytest.mark.parametrize("job", TYPES)
def test_name_limit_matches_the_api(job: JobType) -> None:
    longest = shape(job.create, "input")[job.name_key].metadata["max"]
    assert job.name_limit <= longest


def test_dropped_arguments_are_not_sent() -> None:
    arguments = {
        "ModelPackageGroupName": "g",
        "ModelPackageName": "n",
        "CertifyForMarketplace": True,
        "Description": "d",
        "ModelPackageDescription": "kept",
    }
    job = JOB_TYPES["RegisterModel"]
    request = job.request(Step("A", job.type), arguments, name="n", token="a-token", role=None)
    assert request == {
        "ModelPackageGroupName": "g",
        "ModelPackageDescription": "kept",
        "ClientToken": "a-token",
    }


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", "Requested resource not found."),
        ("ValidationException", "Could not find requested job with name: x"),
        ("ValidationException", 'Could not find model "arn:aws:sagemaker:eu-west-1:1:model/x".'),
        ("ValidationException", "ModelPackageGroup arn:aws:… does not exist."),
        ("ResourceNotFound", "x"),
    ],
)
def test_not_found_errors_are_recognized(code: str, message: str) -> None:
    class Client:
        def describe_training_job(self, **request: str) -> None:
            raise client_error("DescribeTrainingJob", code, message)

    assert JOB_TYPES["Training"].find(Client(), "x") is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ResourceInUse", "x"),
        ("ValidationException", 'Cannot create already existing model "arn:aws:sagemaker:…".'),
        ("ValidationException", "Model Package Group already exists: arn:aws:…"),
        ("ValidationException", "Job names must be unique within an AWS account and region."),
    ],
)
def test_names_in_use_are_recognized(code: str, message: str) -> None:
    """The job of an earlier request whose answer was lost, and that Describe does not show yet."""

    class Client:
        def create_training_job(self, **request: str) -> None:
            raise client_error("CreateTrainingJob", code, message)

        def describe_training_job(self, **request: str) -> None:
            raise client_error("DescribeTrainingJob", "ResourceNotFound", "x")

    assert JOB_TYPES["Training"].start(Client(), {}, "a") == "a"
