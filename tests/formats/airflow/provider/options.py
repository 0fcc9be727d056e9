"""Options of a DAG and its tasks that only Airflow understands."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTransformOperator
from airflow.sdk import DAG, Asset


def report(context):
    print(context["run_id"])


def transform(name, **more):
    return SageMakerTransformOperator(
        task_id=name,
        config={
            "TransformJobName": name,
            "ModelName": "ages",
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://tables/march"}
                }
            },
            "TransformOutput": {"S3OutputPath": "s3://tables/scored"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
        **more,
    )


with DAG(
    "options",
    description="Scores every morning",
    doc_md="# Scores",
    schedule="30 6 * * MON-FRI",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=3,
    dagrun_timeout=timedelta(hours=2),
    on_failure_callback=report,
    tags=["scoring", "daily"],
    default_args={
        "owner": "ml",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "depends_on_past": True,
        "region_name": "eu-west-1",
        "on_failure_callback": report,
    },
):
    first = transform("first", retries=0, pool="sagemaker", priority_weight=5)
    second = transform(
        "second",
        execution_timeout=timedelta(hours=1),
        outlets=[Asset("s3://tables/scored")],
        trigger_rule="all_done",
        max_active_tis_per_dag=1,
        params={"own": 1},
    )
    first >> second
