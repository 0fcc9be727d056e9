"""Conditions of every kind, nested, with joins after them."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerModelOperator,
)
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, Param


def model(name, **more):
    return SageMakerModelOperator(
        task_id=name,
        config={
            "ModelName": name,
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/serve",
            "PrimaryContainer": {"Image": "xgboost:3"},
        },
        **more,
    )


with DAG(
    "branches",
    schedule=None,
    params={"stage": Param("dev", type="string", enum=["dev", "prod"]), "size": 3, "text": "3"},
):
    start = EmptyOperator(task_id="start")
    outer = SageMakerConditionOperator(
        task_id="outer",
        conditions=[
            {
                "type": "Not",
                "condition": {
                    "type": "Equals",
                    "left_value": "{{ params.stage }}",
                    "right_value": "dev",
                },
            },
            {
                "type": "Or",
                "conditions": [
                    {
                        "type": "GreaterThan",
                        "left_value": "{{ params.size }}",
                        "right_value": "2.5",
                    },
                    {"type": "In", "value": "{{ params.text }}", "in_values": [1, "3"]},
                ],
            },
        ],
        if_task_ids=["inner", "big"],
        else_task_ids="skip",
    )
    inner = SageMakerConditionOperator(
        task_id="inner",
        condition_type="Equals",
        left_value="{{ params.size }}",
        right_value=3,
        if_task_ids=["exact"],
    )
    skip = EmptyOperator(task_id="skip")
    big, exact, after_big, after_skip = map(model, ("big", "exact", "after_big", "after_skip"))
    never, last = model("never"), model("last")
    both = model("both", trigger_rule="none_failed_min_one_success")
    start >> outer
    outer >> Label("yes") >> [inner, big]
    outer >> Label("no") >> skip
    outer >> never >> last
    inner >> exact
    big >> after_big
    skip >> after_skip
    [after_big, after_skip] >> both
