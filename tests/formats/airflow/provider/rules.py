"""Trigger rules after failures, after both branches of a condition, and after dropped tasks."""

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.s3 import S3DeleteBucketOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerModelOperator,
)
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param


def model(name, rule="all_success"):
    return SageMakerModelOperator(
        task_id=name,
        trigger_rule=rule,
        config={
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/serve",
            "PrimaryContainer": {"Image": "xgboost:3"},
        },
    )


with DAG("rules", schedule=None, params={"size": Param(3, type="integer")}):
    check = SageMakerConditionOperator(
        task_id="check",
        condition_type="GreaterThan",
        left_value="{{ params.size }}",
        right_value=2,
        if_task_ids=["large", "no_more"],
        else_task_ids=["small", "no_less"],
    )
    large, small = model("large"), model("small")
    no_more, no_less = EmptyOperator(task_id="no_more"), EmptyOperator(task_id="no_less")
    joined = model("joined", "none_failed_min_one_success")
    either = model("either", "none_failed_min_one_success")
    alarm = LambdaInvokeFunctionOperator(
        task_id="alarm",
        function_name="alarm",
        payload='{"of": "{{ dag.dag_id }}"}',
        trigger_rule="one_failed",
    )
    alarmed, first, last = model("alarmed"), model("first", "one_failed"), model("last", "all_done")
    check >> [large, small] >> joined
    check >> [no_more, no_less] >> either
    [large, either] >> alarm >> alarmed
    [alarm, either] >> last
    last >> S3DeleteBucketOperator(task_id="tidy", bucket_name="b", trigger_rule="all_done")
