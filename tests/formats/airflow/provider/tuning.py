"""A tuning job, and a model of its best training job."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerModelOperator,
    SageMakerTuningOperator,
)
from airflow.sdk import DAG

BEST = "{{ ti.xcom_pull('tune')['Tuning']['BestTrainingJob']['TrainingJobName'] }}"

with DAG("tuning", schedule=None, params={"jobs": 10}):
    tune = SageMakerTuningOperator(
        task_id="tune",
        wait_for_completion=False,
        max_ingestion_time=7200,
        config={
            "HyperParameterTuningJobName": "tune",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {
                    "MetricName": "validation:rmse",
                    "Type": "Minimize",
                },
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": "{{ params.jobs }}",
                    "MaxParallelTrainingJobs": 2,
                },
                "ParameterRanges": {
                    "ContinuousParameterRanges": [
                        {"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}
                    ]
                },
            },
            "TrainingJobDefinition": {
                "StaticHyperParameters": {"num_round": "{{ params.jobs }}"},
                "AlgorithmSpecification": {
                    "TrainingImage": "xgboost:3",
                    "TrainingInputMode": "File",
                },
                "RoleArn": "arn:aws:iam::111122223333:role/train",
                "OutputDataConfig": {"S3OutputPath": "s3://models/tune"},
                "ResourceConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 30,
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            },
        },
    )
    model = SageMakerModelOperator(
        task_id="model",
        config={
            "ModelName": "best",
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/train",
            "PrimaryContainer": {
                "Image": "xgboost:3",
                "ModelDataUrl": f"s3://models/tune/{BEST}/output/model.tar.gz",
            },
        },
    )
    tune >> model
