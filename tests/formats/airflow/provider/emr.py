"""Spark steps on a running cluster, then training."""

from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator
from airflow.providers.amazon.aws.sensors.emr import EmrStepSensor
from airflow.sdk import DAG


def spark(name, *arguments, **more):
    return {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", *arguments]},
        **more,
    }


with DAG("emr", schedule=None, params={"cluster": "j-1", "day": "2026-01-01"}):
    features = EmrAddStepsOperator(
        task_id="features",
        job_flow_id="{{ params.cluster }}",
        steps=[
            spark("clean", "s3://code/clean.py", "--day", "{{ params.day }}"),
            spark("join", "s3://code/join.py", ActionOnFailure="TERMINATE_CLUSTER"),
        ],
        execution_role_arn="arn:aws:iam::111122223333:role/spark",
    )
    wait = EmrStepSensor(
        task_id="wait",
        job_flow_id="{{ params.cluster }}",
        step_id="{{ ti.xcom_pull('features')[1] }}",
    )
    one = EmrAddStepsOperator(
        task_id="one",
        job_flow_name="nightly",
        cluster_states=["RUNNING", "WAITING"],
        steps=[spark("one", "s3://code/one.py")],
        wait_for_completion=True,
    )
    late = EmrAddStepsOperator(
        task_id="late", job_flow_id="j-2", steps="{{ ti.xcom_pull('wait') }}"
    )
    report = SageMakerProcessingOperator(
        task_id="report",
        config={
            "ProcessingJobName": "report",
            "RoleArn": "arn:aws:iam::111122223333:role/report",
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 10,
                }
            },
            "AppSpecification": {"ImageUri": "report:1"},
            "Environment": {
                "STEP": "{{ ti.xcom_pull('one')[0] }}",
                "CLUSTER": "{{ ti.xcom_pull('one', key='job_flow_id') }}",
            },
        },
    )
    features >> wait >> one >> late >> report
