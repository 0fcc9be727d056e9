"""Model: CreateModel, which is synchronous, so a model has no status."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Model",
    create="create_model",
    describe="describe_model",
    name_key="ModelName",
    arn_key="ModelArn",
    role_key="ExecutionRoleArn",
    outputs=lambda found: {"model_name": found.get("ModelName")},
)
