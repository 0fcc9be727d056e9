"""A Lambda function and an SQS message between jobs."""

import json

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.sdk import DAG

FUNCTION = "arn:aws:lambda:us-east-1:111122223333:function:clean"

with DAG("lambda_and_queue", schedule=None, params={"rows": 1000, "table": "ages"}):
    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "train",
            "RoleArn": "arn:aws:iam::111122223333:role/train",
            "AlgorithmSpecification": {"TrainingImage": "xgboost:3", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    clean = LambdaInvokeFunctionOperator(
        task_id="clean",
        function_name=FUNCTION,
        qualifier="live",
        payload=json.dumps(
            {
                "table": "{{ params.table }}",
                "rows as text": "{{ params.rows }}",
                "model": "{{ ti.xcom_pull('train')['Training']['ModelArtifacts']"
                "['S3ModelArtifacts'] }}",
                "path": "s3://tables/{{ params.table }}/{{ ds }}",
                "nested": {"list": [1, 2.5, None, True]},
            }
        ),
    )
    count = LambdaInvokeFunctionOperator(
        task_id="count",
        function_name="count-rows",
        invocation_type="Event",
        payload='{"rows": {{ params.rows }}, "of": "{{ params.table }}"}',
    )
    whatever = LambdaInvokeFunctionOperator(
        task_id="whatever",
        function_name=FUNCTION,
        payload="{{ ti.xcom_pull('count') }}",
    )
    report = SqsPublishOperator(
        task_id="report",
        sqs_queue="https://sqs.us-east-1.amazonaws.com/111122223333/models",
        message_content="trained {{ params.table }}",
        delay_seconds=5,
    )
    ask = SqsPublishOperator(
        task_id="ask",
        sqs_queue="https://sqs.us-east-1.amazonaws.com/111122223333/models",
        message_content='{"table": "{{ params.table }}", "approve": true}',
    )
    train >> clean >> count >> whatever >> [report, ask]
