"""Options set after a task was created, and sensors for jobs named by another task."""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerAutoMLOperator,
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerAutoMLSensor,
    SageMakerProcessingSensor,
    SageMakerTrainingSensor,
)
from airflow.sdk import DAG, Param, task

ROLE = "arn:aws:iam::111122223333:role/train"
SIZE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}

with DAG(
    "late",
    schedule=timedelta(hours=6),
    params={
        "level": Param("low", type=["string", "null"], enum=["low", "high", None]),
        "batch": Param(100, type=["integer", "string"]),
    },
):

    @task
    def called():
        return {"fit": "fit-1", "search": "search-1"}

    names = called()
    prepare = SageMakerProcessingOperator(
        task_id="prepare",
        wait_for_completion=False,
        config={
            "ProcessingJobName": "prepare",
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": "prepare:1"},
            "ProcessingResources": {"ClusterConfig": SIZE},
        },
    )
    prepared = SageMakerProcessingSensor(task_id="prepared", job_name="prepare")
    fit = SageMakerTrainingOperator(
        task_id="fit",
        retries=1,
        max_ingestion_time=3600,
        config={
            "TrainingJobName": names["fit"],
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "xgboost:3", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/fit"},
            "ResourceConfig": SIZE,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    fit.retries = 4
    fit.pool = "gpu"
    fit.execution_timeout = timedelta(hours=1)
    fit.wait_for_completion = False
    fitted = SageMakerTrainingSensor(task_id="fitted", job_name=names["fit"])
    search = SageMakerAutoMLOperator(
        task_id="search",
        job_name=names["search"],
        s3_input="s3://data/train",
        target_attribute="age",
        s3_output="s3://models/search",
        role_arn=ROLE,
    )
    search.wait_for_completion = False
    searched = SageMakerAutoMLSensor(task_id="searched", job_name=names["search"])
    other = SageMakerTrainingSensor(task_id="other", job_name="of-another-pipeline")
    names >> prepare >> prepared >> fit >> fitted >> search >> [searched, other]
