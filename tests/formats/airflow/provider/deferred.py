"""Deferrable tasks, sensors for their jobs, filters, and run-time values."""

from datetime import UTC, datetime

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerModelOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTrainingSensor
from airflow.sdk import DAG, Param, chain

ROLE = "arn:aws:iam::111122223333:role/r"
TRAIN = {
    "TrainingJobName": "job-{{ ts_nodash }}",
    "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://{{ params.bucket }}/out/{{ ds }}/"},
    "ResourceConfig": {
        "InstanceCount": "{{ params.n | int }}",
        "InstanceType": "ml.m5.large",
        "VolumeSizeInGB": 10,
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": "{{ params.secs }}"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "{{ var.value.data }}"}
            },
        }
    ],
}
with DAG(
    "a",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"bucket": "b", "n": Param(2, type="integer"), "secs": 600},
    default_args={"retries": 2, "aws_conn_id": "aws"},
    render_template_as_native_obj=True,
):
    train = SageMakerTrainingOperator(
        task_id="train", config=TRAIN, deferrable=True, wait_for_completion=True, check_interval=30
    )
    wait = SageMakerTrainingSensor(
        task_id="wait",
        job_name="{{ ti.xcom_pull(task_ids='train')['Training']['TrainingJobName'] }}",
    )
    model = SageMakerModelOperator(
        task_id="model",
        config={
            "ModelName": "m-{{ ds_nodash }}",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": "i",
                "ModelDataUrl": "{{ ti.xcom_pull('train', key='return_value')['Training']"
                "['ModelArtifacts']['S3ModelArtifacts'] }}",
            },
        },
    )
    tr = SageMakerTransformOperator(
        task_id="tr",
        config={
            "TransformJobName": "t",
            "ModelName": "m-{{ ds_nodash }}",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://x"}}
            },
            "TransformOutput": {"S3OutputPath": "s3://o"},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "m"},
        },
        trigger_rule="none_failed",
        deferrable=True,
        wait_for_completion=False,
    )
    chain(train, wait, model, tr)
