"""The links to a job in the AWS console."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge_operators.lifecycle.links import job_links
from sagebridge_operators.steps import JOB_TYPES

TRAINING = {
    "TrainingJobName": "my-job",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/a folder/"},
}
EU = "region=eu-west-1"
ADDRESSES = {
    "aws": ("eu-west-1", "https://console.aws.amazon.com"),
    "aws-cn": ("cn-north-1", "https://console.amazonaws.cn"),
    "aws-us-gov": ("us-gov-west-1", "https://console.amazonaws-us-gov.com"),
}


def arn(resource: str, partition: str = "aws", region: str = "eu-west-1") -> str:
    return f"arn:{partition}:sagemaker:{region}:111122223333:{resource}"


def links(type_: str, **description: Any) -> dict[str, str]:
    return job_links(JOB_TYPES[type_], "my-job", description)


@pytest.mark.parametrize("partition", list(ADDRESSES))
def test_links_use_partition_and_region_of_the_arn(partition: str) -> None:
    region, address = ADDRESSES[partition]
    job = arn("training-job/my-job", partition, region)
    assert links("Training", TrainingJobArn=job, **TRAINING) == {
        "SageMaker console": f"{address}/sagemaker/home?region={region}#/jobs/my-job",
        "CloudWatch log": (
            f"{address}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
            "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Dmy-job$252F"
        ),
        "S3 output": (f"{address}/s3/buckets/bucket?region={region}&prefix=a%20folder%2Fmy-job%2F"),
    }


def outputs(*uris: str) -> dict[str, Any]:
    rows = [{"S3Output": {"S3Uri": uri}} for uri in uris]
    return {"ProcessingOutputConfig": {"Outputs": rows}}


@pytest.mark.parametrize(
    ("uris", "page"),
    [
        (["s3://b/one"], f"b?{EU}&prefix=one%2F"),
        (["s3://b/run/train", "s3://b/run/test/"], f"b?{EU}&prefix=run%2F"),
        (["s3://b/train", "s3://b/test"], f"b?{EU}&prefix="),
        (["s3://b/train", "s3://c/test"], f"b?{EU}&prefix=train%2F"),
    ],
)
def test_output_link_is_the_folder_of_all_outputs(uris: list[str], page: str) -> None:
    found = links("Processing", ProcessingJobArn=arn("processing-job/my-job"), **outputs(*uris))
    assert found["S3 output"] == f"https://console.aws.amazon.com/s3/buckets/{page}"


def test_missing_pages_and_unknown_partitions_have_no_links() -> None:
    assert list(links("Model", ModelArn=arn("model/my-job"))) == ["SageMaker console"]
    assert links("RegisterModel", ModelPackageArn=arn("model-package/g/1")) == {}
    assert links("Training", **TRAINING) == {}
    assert links("Training", TrainingJobArn=arn("training-job/x", "aws-iso"), **TRAINING) == {}
    processing = links("Processing", ProcessingJobArn=arn("processing-job/my-job"))
    assert list(processing) == ["SageMaker console", "CloudWatch log"]
