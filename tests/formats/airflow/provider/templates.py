"""Every kind of template expression."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG, Param, literal

with DAG(
    "templates",
    schedule=None,
    params={
        "rounds": Param(50, type="integer", minimum=1, maximum=500),
        "rate": 0.2,
        "spot": False,
        "bucket": "models",
        "volume": "30",
        "columns": ["a", "b"],
        "note": Param(None, type=["null", "string"]),
    },
):
    first = SageMakerTrainingOperator(
        task_id="first",
        config={
            "TrainingJobName": "first-{{ ds_nodash }}",
            "RoleArn": "arn:aws:iam::111122223333:role/train",
            "AlgorithmSpecification": {"TrainingImage": "xgboost:3", "TrainingInputMode": "File"},
            "HyperParameters": {
                "num_round": "{{ params.rounds }}",
                "eta": "{{ params['rate'] }}",
                "seed": "{{ 7 }}",
                "columns": "{{ params.columns | join(',') }}",
                "columns_again": "{{ params.columns | join(',') }}",
                "missing": "{{ params.nowhere }}",
                "choice": "{% if params.spot %}spot{% else %}on-demand{% endif %}",
                "braces": literal("{{ not a template }}"),
                "comment": "kept {# not kept #}",
                "date": "{{ ds }}",
            },
            "OutputDataConfig": {
                "S3OutputPath": "s3://{{ params.bucket }}/{{ dag.dag_id }}/{{ run_id }}/{{ ds }}"
            },
            "ResourceConfig": {
                "InstanceType": "{{ var.value.instance_type }}",
                "InstanceCount": "{{ params.rounds }}",
                "VolumeSizeInGB": "{{ params.volume }}",
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": "3600"},
            "Tags": [{"Key": "team", "Value": "{{ conn.sagemaker.schema }}"}],
        },
    )
    second = SageMakerTrainingOperator(
        task_id="second",
        config={
            "TrainingJobName": "second",
            "RoleArn": "train-role",
            "AlgorithmSpecification": {
                "TrainingImage": "{{ dag_run.conf['image'] }}",
                "TrainingInputMode": "File",
            },
            "HyperParameters": {
                "rounds": "{{ dag_run.conf.get('rounds', 5) }}",
                "checkpoint": "{{ ti.xcom_pull(task_ids='first', key='return_value')"
                "['Training']['HyperParameters']['num_round'] }}",
                "first": "{{ ti.xcom_pull(['first'])[0].Training.TrainingJobName ~ '-2' }}",
                "other_dag": "{{ ti.xcom_pull('first', dag_id='elsewhere') }}",
                "from_a_path": "s3://models/out/first-{{ ds_nodash }}/logs",
            },
            "OutputDataConfig": {"S3OutputPath": "s3://{{ params.bucket }}"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
