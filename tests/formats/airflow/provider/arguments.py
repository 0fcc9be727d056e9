"""DAG arguments, many kinds of XComs, macros, and statements in templates."""

import json

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
)
from airflow.sdk import dag

ROLE = "arn:aws:iam::111122223333:role/r"


@dag(schedule="0 5 * * 1", params={"image": "i:1"})
def c(image_tag="v1", rounds=50):
    SageMakerProcessingOperator(
        task_id="proc",
        config={
            "ProcessingJobName": "p",
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": "{{ params.image }}",
                "ContainerArguments": ["--x", "{{ run_id }}", "--r", rounds],
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "m", "VolumeSizeInGB": 1}
            },
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "train",
                        "S3Output": {
                            "S3Uri": "s3://b/{{ run_id }}",
                            "LocalPath": "/o",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "Environment": {
                "TAG": image_tag,
                "N": "{{ '%02d' | format(3) }}",
                "U": "{{ dag_run.conf.get('user','me') }}",
                "P": "{{ prev_ds }}",
                "D": "{{ macros.ds_add(ds, 7) }}",
                "T": "{{ params['image'].upper() }}",
            },
        },
    )
    tr = SageMakerTrainingOperator(
        task_id="tr",
        config={
            "TrainingJobName": "t",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://b"},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "m", "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 1},
            "InputDataConfig": [
                {
                    "ChannelName": "t",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": "{{ ti.xcom_pull(task_ids='proc')['Processing']"
                            "['ProcessingOutputConfig']['Outputs'][0]['S3Output']['S3Uri'] }}",
                        }
                    },
                }
            ],
            "HyperParameters": {
                "n": rounds,
                "all": "{{ ti.xcom_pull(task_ids=['proc','tr']) }}",
                "none": "{{ ti.xcom_pull(task_ids='absent') }}",
                "other": "{{ ti.xcom_pull(task_ids='proc', dag_id='z') }}",
                "if": "{% if params.image %}a{% endif %}",
            },
        },
    )
    lam = LambdaInvokeFunctionOperator(
        task_id="lam",
        function_name="f",
        payload=json.dumps(
            {"m": "{{ ti.xcom_pull('tr')['Training']['ModelArtifacts']['S3ModelArtifacts'] }}"}
        ),
    )
    tr >> lam
    LambdaInvokeFunctionOperator(
        task_id="lam2",
        function_name="arn:aws:lambda:eu-west-1:111122223333:function:f",
        payload=tr.output,
    )


c()
