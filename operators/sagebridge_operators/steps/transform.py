"""Transform: CreateTransformJob."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Transform",
    role_key=None,
    takes_experiment=True,
    log_group="/aws/sagemaker/TransformJobs",
    s3_inputs="TransformInput.DataSource.S3DataSource.S3Uri",
    s3_outputs="TransformOutput.S3OutputPath",
    made_from={"ModelName": "Model"},
    outputs=lambda found: {"output": found.get("TransformOutput", {}).get("S3OutputPath")},
)
