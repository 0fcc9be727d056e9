"""Model: CreateModel, which is synchronous, so a model has no status."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Model",
    role_key="ExecutionRoleArn",
    s3_inputs=(
        "[PrimaryContainer, Containers[]][].[ModelDataUrl, ModelDataSource.S3DataSource.S3Uri][]"
    ),
    made_from={"[PrimaryContainer, Containers[]][].ModelPackageName": "RegisterModel"},
    outputs=lambda found: {"model_name": found.get("ModelName")},
)
