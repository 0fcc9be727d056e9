"""Processing: CreateProcessingJob."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Processing",
    create="create_processing_job",
    describe="describe_processing_job",
    stop="stop_processing_job",
    name_key="ProcessingJobName",
    arn_key="ProcessingJobArn",
    status_key="ProcessingJobStatus",
    reason_keys=("FailureReason", "ExitMessage"),
)
