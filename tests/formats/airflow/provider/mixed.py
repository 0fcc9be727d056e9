"""Sagebridge operators with other operators between them."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTransformOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import DAG, Param

from sagebridge_operators.airflow import (
    ConditionOperator,
    FailOperator,
    ModelOperator,
    equals,
    execution,
    parameter,
)

with DAG(
    "mixed",
    schedule="@daily",
    params={"Stage": Param("dev", type="string", enum=["dev", "prod"])},
    default_args={"role_arn": "arn:aws:iam::111122223333:role/serve"},
) as dag:
    arrived = FileSensor(task_id="arrived", filepath="/mnt/tables/ages.csv")
    model = ModelOperator(
        task_id="Model",
        arguments={
            "PrimaryContainer": {"Image": "xgboost:3"},
            "Tags": [{"Key": "run", "Value": execution.pipeline_execution_id}],
        },
    )
    log = BashOperator(task_id="log", bash_command="echo {{ params.Stage }}")
    transform = SageMakerTransformOperator(
        task_id="transform",
        config={
            "TransformJobName": "score",
            "ModelName": model.properties.ModelName,
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://tables/march"}
                }
            },
            "TransformOutput": {"S3OutputPath": "s3://tables/scored"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    )
    second = ModelOperator(
        task_id="Second",
        arguments={"PrimaryContainer": {"Image": "{{ text }}"}},
        trigger_rule="all_done",
    )
    stop = FailOperator(task_id="Stop", error_message="not {{ in }} production")
    check = ConditionOperator(
        task_id="Check",
        conditions=[equals(parameter("Stage"), "prod")],
        if_steps=[second],
        else_steps=[stop],
    )
    arrived >> model >> log >> transform
    transform >> check
