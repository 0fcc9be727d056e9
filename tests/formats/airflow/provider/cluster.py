"""An EMR cluster that is created, used and terminated, and a queue."""

from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.providers.amazon.aws.sensors.emr import EmrStepSensor
from airflow.sdk import DAG

with DAG("f", schedule=None):
    cl = EmrCreateJobFlowOperator(task_id="cl", job_flow_overrides={"Name": "x"})
    ad = EmrAddStepsOperator(
        task_id="ad",
        job_flow_id=cl.output,
        steps=[
            {
                "Name": "one",
                "ActionOnFailure": "TERMINATE_CLUSTER",
                "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark", "{{ ds }}"]},
            }
        ],
        wait_for_completion=True,
    )
    se = EmrStepSensor(
        task_id="se",
        job_flow_id=cl.output,
        step_id="{{ ti.xcom_pull(task_ids='ad', key='return_value')[0] }}",
    )
    te = EmrTerminateJobFlowOperator(task_id="te", job_flow_id=cl.output, trigger_rule="all_done")
    q = SqsPublishOperator(
        task_id="q",
        sqs_queue="https://sqs/q",
        message_content='{"a": {{ params.n }}}',
        params={"n": 3},
    )
    cl >> ad >> se >> te >> q
