"""The abalone DAG with tasks that do nothing, and with its Params: the least any such DAG costs."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

with DAG(
    dag_id="empty_abalone",
    schedule=None,
    params={
        "ProcessingInstanceCount": Param(1, type="integer"),
        "ModelApprovalStatus": Param("PendingManualApproval", type="string"),
        "InputData": Param("s3://sagebridge-abalone/data/abalone-dataset.csv", type="string"),
        "BatchData": Param("s3://sagebridge-abalone/data/abalone-dataset-batch.csv", type="string"),
        "MseThreshold": Param(6.0, type="number"),
    },
):
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
