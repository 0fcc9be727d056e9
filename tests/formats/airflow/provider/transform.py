"""A model and its transform job in one task."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)
from airflow.sdk import DAG

ROLE = "arn:aws:iam::111122223333:role/score"

with DAG("transform", schedule=None):
    score = SageMakerTransformOperator(
        task_id="score",
        doc_md="Scores last month's **table**.",
        task_display_name="Score the table",
        deferrable=True,
        check_interval=60,
        config={
            "Model": {
                "ModelName": "scorer",
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": {
                    "Image": "xgboost:3",
                    "ModelDataUrl": "s3://models/model.tar.gz",
                },
            },
            "Transform": {
                "TransformJobName": "score",
                "ModelName": "scorer",
                "MaxConcurrentTransforms": "4",
                "TransformInput": {
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://tables/march"}
                    }
                },
                "TransformOutput": {"S3OutputPath": "s3://tables/scored"},
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            },
        },
    )
    report = SageMakerProcessingOperator(
        task_id="report",
        config={
            "ProcessingJobName": "report",
            "RoleArn": ROLE,
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 10,
                }
            },
            "AppSpecification": {
                "ImageUri": "report:1",
                "ContainerArguments": [
                    "{{ ti.xcom_pull('score')['Transform']['TransformOutput']['S3OutputPath'] }}",
                    "{{ ti.xcom_pull('score')['Model']['ModelArn'] }}",
                    "{{ ti.xcom_pull('score')['Transform'] }}",
                ],
            },
        },
    )
    score >> report
