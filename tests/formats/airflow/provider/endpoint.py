"""A model and its endpoint as separate tasks with shared names, and as one task."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerEndpointSensor
from airflow.sdk import DAG, chain

ROLE = "arn:aws:iam::111122223333:role/serve"
CONTAINER = {"Image": "xgboost:3", "ModelDataUrl": "s3://models/model.tar.gz"}


def variants(model, count=1):
    return [
        {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InitialInstanceCount": count,
            "InstanceType": "ml.t2.medium",
        }
    ]


with DAG("endpoint", schedule=None, params={"instances": 1}):
    model = SageMakerModelOperator(
        task_id="model",
        config={"ModelName": "ages", "ExecutionRoleArn": ROLE, "PrimaryContainer": CONTAINER},
    )
    config = SageMakerEndpointConfigOperator(
        task_id="config",
        config={
            "EndpointConfigName": "ages-{{ ts_nodash }}",
            "ProductionVariants": variants("ages", "{{ params.instances }}"),
        },
    )
    serve = SageMakerEndpointOperator(
        task_id="serve",
        config={"EndpointName": "ages", "EndpointConfigName": "ages-{{ ts_nodash }}"},
        wait_for_completion=False,
    )
    wait = SageMakerEndpointSensor(task_id="wait", endpoint_name="ages")
    at_once = SageMakerEndpointOperator(
        task_id="at_once",
        operation="update",
        config={
            "Model": {
                "ModelName": "sizes",
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": CONTAINER,
            },
            "EndpointConfig": {
                "EndpointConfigName": "sizes",
                "ProductionVariants": variants("sizes"),
            },
            "Endpoint": {"EndpointName": "sizes", "EndpointConfigName": "sizes"},
        },
    )
    chain(model, config, serve, wait, at_once)
