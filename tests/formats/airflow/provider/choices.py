"""Branches decided by Python functions."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import (
    BranchPythonOperator,
    ShortCircuitOperator,
)
from airflow.sdk import DAG, task


def model(name):
    return SageMakerModelOperator(
        task_id=name,
        config={
            "ModelName": name,
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/serve",
            "PrimaryContainer": {"Image": "xgboost:3"},
        },
    )


with DAG("choices", schedule=None):
    newest = LatestOnlyOperator(task_id="newest")
    weekday = ShortCircuitOperator(task_id="weekday", python_callable=lambda: True)
    which = BranchPythonOperator(task_id="which", python_callable=lambda: "small")

    @task.branch
    def whether():
        return ["always"]

    small, large, after_small, always = map(model, ("small", "large", "after_small", "always"))
    newest >> weekday >> which >> [small, large]
    small >> after_small
    whether() >> always
