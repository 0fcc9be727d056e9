"""Sensors, a short circuit, a task group, and a condition on the result of a Python task."""

from airflow.providers.amazon.aws.operators.s3 import S3CopyObjectOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerModelOperator,
)
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.standard.operators.python import (
    PythonOperator,
    ShortCircuitOperator,
)
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG, TaskGroup

ROLE = "arn:aws:iam::111122223333:role/r"


def cfg(n):
    return {"ModelName": n, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "i"}}


with DAG(
    "d",
    schedule=None,
    catchup=False,
    max_active_tasks=4,
    dagrun_timeout=None,
    on_failure_callback=lambda c: None,
):
    k = S3KeySensor(task_id="k", bucket_key="s3://b/k", deferrable=True)
    e = ExternalTaskSensor(task_id="e", external_dag_id="z")
    sc = ShortCircuitOperator(
        task_id="sc", python_callable=lambda: True, ignore_downstream_trigger_rules=False
    )
    cp = S3CopyObjectOperator(task_id="cp", source_bucket_key="a", dest_bucket_key="b")
    a = SageMakerModelOperator(task_id="a", config=cfg("a"))
    with TaskGroup("g") as g:
        b = SageMakerModelOperator(task_id="b", config=cfg("b"))
        c = SageMakerModelOperator(task_id="c", config=cfg("c"))
        b >> c
    cond = SageMakerConditionOperator(
        task_id="cond",
        conditions=[
            {"type": "GreaterThan", "left_value": "{{ ti.xcom_pull('py') }}", "right_value": 0.5}
        ],
        if_task_ids=["g.b"],
        else_task_ids=["z"],
    )
    z = SageMakerModelOperator(task_id="z", config=cfg("z"))

    def acc():
        return 0.7

    py = PythonOperator(task_id="py", python_callable=acc)
    [k, e] >> sc >> cp >> a >> py >> cond >> [b, z]
    notify = SageMakerModelOperator(task_id="notify", config=cfg("n"), trigger_rule="all_done")
    [g, z] >> notify
