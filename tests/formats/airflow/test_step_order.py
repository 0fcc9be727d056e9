"""The order of steps: those of one provider operator, and those of tasks in any order."""

from __future__ import annotations

import pytest

from sagebridge.formats.prefect import writer as prefect_writer
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.graph import graph
from tests.formats.airflow.conftest import ReadAll

pytestmark = pytest.mark.airflow

DAGS = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerTransformOperator,
)
from airflow.sdk import DAG

MODEL = {
    "ModelName": "fresh",
    "ExecutionRoleArn": "arn:aws:iam::210987654321:role/serving",
    "PrimaryContainer": {"Image": "scorer:3", "ModelDataUrl": "s3://models/scorer.tar.gz"},
}


def config(model):
    variant = {"VariantName": "v", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    return {"EndpointConfigName": "c", "ProductionVariants": [{**variant, "ModelName": model}]}


def endpoint(task_id, **parts):
    return SageMakerEndpointOperator(task_id=task_id, config=parts)


with DAG("names_differ"):
    before = SageMakerModelOperator(task_id="before", config={**MODEL, "ModelName": "m"})
    live = endpoint(
        "live",
        Model=MODEL,
        EndpointConfig=config("{{ var.value.approved_model }}"),
        Endpoint={"EndpointName": "e", "EndpointConfigName": "made-elsewhere"},
    )
    after = SageMakerModelOperator(task_id="after", config={**MODEL, "ModelName": "n"})
    before >> live >> after

with DAG("names_match"):
    endpoint(
        "live",
        Model=MODEL,
        EndpointConfig=config("fresh"),
        Endpoint={"EndpointName": "e", "EndpointConfigName": "c"},
    )

with DAG("no_config"):
    endpoint(
        "live", Model=MODEL, Endpoint={"EndpointName": "e", "EndpointConfigName": "elsewhere"}
    )

with DAG("batch"):
    job = {
        "TransformJobName": "t",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://in"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    SageMakerTransformOperator(task_id="score", config={"Model": MODEL, "Transform": job})

with DAG("created_late"):
    last = BashOperator(task_id="last", bash_command="true")
    first = BashOperator(task_id="first", bash_command="true")
    first >> last
"""


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(DAGS)


def dependencies(found: FileReading) -> dict[str, tuple[str, ...]]:
    return {step.name: step.dependencies for step in found.pipeline.steps}


def test_steps_of_one_operator_run_in_its_order_when_no_name_matches(
    dags: dict[str, FileReading],
) -> None:
    assert dependencies(dags["names_differ"]) == {
        "before": (),
        "live-Model": ("before",),
        "live-EndpointConfig": ("live-Model",),
        "live": ("live-EndpointConfig",),
        "after": ("live",),
    }
    assert dependencies(dags["no_config"]) == {"live-Model": (), "live": ("live-Model",)}
    assert dependencies(dags["batch"]) == {"score-Model": (), "score": ("score-Model",)}


def test_reference_between_steps_of_one_operator_needs_no_dependency(
    dags: dict[str, FileReading],
) -> None:
    found = dags["names_match"]
    assert set(dependencies(found).values()) == {()}
    edges = set(graph(found.pipeline).edges())
    assert edges == {("live-Model", "live-EndpointConfig"), ("live-EndpointConfig", "live")}


def test_order_in_which_tasks_were_created_does_not_matter(dags: dict[str, FileReading]) -> None:
    pipeline = dags["created_late"].pipeline
    assert [step.name for step in pipeline.steps] == ["first", "last"]
    assert "Steps" not in prefect_writer.write(pipeline)[0]
