"""Processing: CreateProcessingJob."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge_operators.steps.job_type import JobType


def _outputs(found: Mapping[str, Any]) -> dict[str, Any]:
    """The S3 URI of each output in S3, by its name."""
    outputs = found.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {
        "outputs": {
            one["OutputName"]: one["S3Output"]["S3Uri"] for one in outputs if "S3Output" in one
        }
    }


STEP = JobType(
    type="Processing",
    reason_keys=("FailureReason", "ExitMessage"),
    takes_experiment=True,
    outputs=_outputs,
    log_group="/aws/sagemaker/ProcessingJobs",
    s3_inputs="ProcessingInputs[].S3Input.S3Uri",
    s3_outputs="ProcessingOutputConfig.Outputs[].S3Output.S3Uri",
)
