"""Mapped tasks, setup and teardown, a branch and what rejoins after it."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator
from airflow.sdk import DAG, task

ROLE = "arn:aws:iam::111122223333:role/r"


def cfg(n):
    return {"ModelName": n, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "i"}}


with DAG("b", schedule=None):

    @task
    def configs():
        return [{"a": 1}]

    m = SageMakerModelOperator.partial(task_id="mapped").expand(config=[cfg("a"), cfg("b")])
    m2 = SageMakerModelOperator.partial(task_id="mapped2").expand(config=configs())
    after = SageMakerModelOperator(task_id="after", config=cfg("x"))
    [m, m2] >> after

    @task.branch
    def pick():
        return "x1"

    x1 = SageMakerModelOperator(task_id="x1", config=cfg("x1"))
    x2 = SageMakerModelOperator(task_id="x2", config=cfg("x2"))
    join = SageMakerModelOperator(
        task_id="join", config=cfg("join"), trigger_rule="none_failed_min_one_success"
    )
    after >> pick() >> [x1, x2] >> join
    s = SageMakerModelOperator(task_id="s", config=cfg("s")).as_setup()
    d = SageMakerModelOperator(task_id="d", config=cfg("d")).as_teardown(setups=s)
    s >> after >> d
