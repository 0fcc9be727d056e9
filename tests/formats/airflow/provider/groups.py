"""Task groups, loops, and a task name used twice."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTransformOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, cross_downstream


def transform(name, uri):
    return SageMakerTransformOperator(
        task_id=name,
        config={
            "TransformJobName": name,
            "ModelName": "ages",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
            },
            "TransformOutput": {"S3OutputPath": "s3://tables/scored"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    )


FIRST = "ti.xcom_pull('north.score')['Transform']['TransformOutput']['S3OutputPath']"

with DAG("groups", schedule=None):
    groups = []
    for region in ("north", "south"):
        with TaskGroup(region) as group:
            score = transform("score", f"s3://tables/{region}")
            with TaskGroup("checks"):
                check = transform(f"check.{region}", "s3://tables/checks")
            score >> check
        groups.append(group)
    joined = EmptyOperator(task_id="joined")
    merge, report = transform("merge", f"{{{{ {FIRST} }}}}"), transform("report", "s3://tables/all")
    cross_downstream([group.children[f"{group.group_id}.score"] for group in groups], [merge])
    groups >> joined >> report
