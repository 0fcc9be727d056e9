"""RegisterModel: CreateModelPackage, which adds a version to a model package group.

A version has no name in the request, so a repeated call is recognized by its ClientToken. A missing
group is created first, since pipelines may name a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.steps.job_type import JobType, exists_already, is_not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterModel(JobType):
    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        request = {k: v for k, v in arguments.items() if k not in self.dropped_arguments}
        request["ClientToken"] = token
        return request

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        """``name`` is the ARN of the version; None before the ARN is known."""
        return JobType.find(self, client, name) if name.startswith("arn:") else None

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        group = request.get("ModelPackageGroupName")
        if isinstance(group, str) and not group.startswith("arn:"):
            ensure_group(client, group)
        return str(client.create_model_package(**request)["ModelPackageArn"])


def ensure_group(client: Any, group: str) -> None:
    """Creates the model package group if it does not exist."""
    from botocore.exceptions import ClientError

    try:
        client.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if not is_not_found(error):
            raise
        try:
            client.create_model_package_group(ModelPackageGroupName=group)
        except ClientError as created:
            if not exists_already(created):
                raise


STEP = RegisterModel(
    type="RegisterModel",
    more_calls=("describe_model_package_group", "create_model_package_group"),
    found_by="token",
    owned=False,
    role_key=None,
    status_key="ModelPackageStatus",
    reason_keys=("ModelPackageStatusDetails",),
    s3_inputs=(
        "[InferenceSpecification.Containers, SourceAlgorithmSpecification.SourceAlgorithms][][]"
        ".[ModelDataUrl, ModelDataSource.S3DataSource.S3Uri][]"
    ),
    outputs=lambda found: {"model_package_arn": found.get("ModelPackageArn")},
    dropped_arguments=("ModelPackageName", "CertifyForMarketplace", "Description"),
)
