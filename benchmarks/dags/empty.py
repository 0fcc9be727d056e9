"""The shape of the abalone DAG with tasks that do nothing: the floor."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(dag_id="empty_abalone", schedule=None):
    process, train, evaluate, check, register, create_model, transform, fail = (
        EmptyOperator(task_id=name)
        for name in (
            "AbaloneProcess",
            "AbaloneTrain",
            "AbaloneEval",
            "AbaloneMSECond",
            "AbaloneRegisterModel-RegisterModel",
            "AbaloneCreateModel",
            "AbaloneTransform",
            "AbaloneMSEFail",
        )
    )
    process >> train >> evaluate >> check >> [register, create_model, fail]
    create_model >> transform
