"""Python and shell tasks next to a job, with and without self-contained code."""

import json

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task


def upload(path, *, bucket="tables"):
    import shutil

    shutil.copy(path, f"/mnt/{bucket}")


def count():
    return len(json.loads("[1, 2]"))


with DAG("code", schedule=None, params={"table": "ages", "rows": 10}):
    there = S3KeySensor(task_id="there", bucket_key="s3://tables/ages.csv")

    @task(multiple_outputs=True)
    def settings(table: str):
        return {"role": f"arn:aws:iam::111122223333:role/{table}", "rounds": "50"}

    @task
    def with_context(ti=None):
        return ti.run_id

    @task
    def shard(number):
        return number + 1

    chosen = settings("{{ params.table }}")
    put = PythonOperator(
        task_id="put",
        python_callable=upload,
        op_args=["{{ params.table }}.csv"],
        op_kwargs={"bucket": "tables"},
    )
    dated = PythonOperator(task_id="dated", python_callable=upload, op_args=["{{ ds }}"])
    counted = PythonOperator(task_id="counted", python_callable=count)
    listed = BashOperator(
        task_id="listed",
        bash_command="ls /mnt/{{ params.table }}",
        env={"ROWS": "{{ params.rows }}"},
    )
    script = BashOperator(task_id="script", bash_command="scripts/clean.sh")
    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "train",
            "RoleArn": chosen["role"],
            "AlgorithmSpecification": {"TrainingImage": "xgboost:3", "TrainingInputMode": "File"},
            "HyperParameters": {
                "num_round": "{{ ti.xcom_pull('settings')['rounds'] }}",
                "context": "{{ ti.xcom_pull('with_context') }}",
                "rows": "{{ ti.xcom_pull('counted') }}",
            },
            "OutputDataConfig": {"S3OutputPath": "s3://models/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    late = SageMakerTrainingOperator(task_id="late", config=chosen)
    there >> chosen >> [put, dated, counted, listed, script, with_context()] >> train
    train >> shard.expand(number=[1, 2]) >> late
