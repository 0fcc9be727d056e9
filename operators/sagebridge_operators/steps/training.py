"""Training: CreateTrainingJob. Notebook jobs and @step functions are training jobs, too."""

from __future__ import annotations

from sagebridge_operators.steps.job_type import JobType

STEP = JobType(
    type="Training",
    takes_experiment=True,
    log_group="/aws/sagemaker/TrainingJobs",
    s3_inputs="InputDataConfig[].DataSource.S3DataSource.S3Uri",
    s3_outputs="ModelArtifacts.S3ModelArtifacts",
    s3_folder="join('/', [OutputDataConfig.S3OutputPath, TrainingJobName])",
    outputs=lambda found: {
        "model_artifact": found.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    },
)
