"""How tasks connect to AWS: the account, region and client settings in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import freeze, thaw
from tests.formats.airflow.conftest import ReadAll

pytestmark = pytest.mark.airflow

PROVIDER = """
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
)
from airflow.sdk import DAG

ROLE = "arn:aws:iam::210987654321:role/serving"


def model(task_id, **more):
    config = {
        "ModelName": f"own-{task_id}",
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": "scorer:3", "ModelDataUrl": "s3://models/scorer.tar.gz"},
    }
    return SageMakerModelOperator(task_id=task_id, config=config, **more)


with DAG("shared", default_args={"aws_conn_id": "ml_prod", "region_name": "ap-south-1"}):
    check = SageMakerConditionOperator(
        task_id="check",
        conditions=[{"type": "Equals", "left_value": 1, "right_value": 1}],
        if_task_ids=["one"],
        else_task_ids=["two"],
    )
    check >> [model("one"), model("two")]

with DAG("different"):
    model("plain", aws_conn_id=None)
    model(
        "tuned",
        region_name="eu-north-1",
        verify=False,
        botocore_config={"read_timeout": 90},
    )
    LambdaInvokeFunctionOperator(
        task_id="call",
        function_name="arn:aws:lambda:sa-east-1:210987654321:function:f",
        aws_conn_id="Team.B",
        payload="{}",
    )
    model("default", aws_conn_id="aws_default")

with DAG("templated", params={"where": "eu-north-1"}):
    model("late", region_name="{{ params.where }}", aws_conn_id="ml_prod")

with DAG("parts", default_args={"region_name": "ap-south-1"}):
    variant = {"ModelName": "own", "VariantName": "a", "InitialInstanceCount": 1}
    SageMakerEndpointOperator(
        task_id="live",
        config={
            "EndpointConfig": {
                "EndpointConfigName": "c",
                "ProductionVariants": [{**variant, "InstanceType": "ml.m5.large"}],
            },
            "Endpoint": {"EndpointName": "e", "EndpointConfigName": "c"},
        },
        deferrable=True,
    )
"""


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(PROVIDER)


@pytest.fixture
def reread(tmp_path: Path) -> Callable[[str, str], Pipeline]:
    """Return a function that reads a written file."""

    def read(name: str, text: str) -> Pipeline:
        file = tmp_path / name
        file.write_text(text)
        return sagebridge.read(file).pipeline

    return read


def connections(pipeline: Pipeline) -> dict[str, Any]:
    return dict(thaw(pipeline.connections))


def losses_of_writing(pipeline: Pipeline, target: str) -> list[Loss]:
    return [one for one in sagebridge.write(pipeline, target).losses if one.severity != "info"]


def test_connection_of_provider_task_is_kept_by_step(dags: dict[str, FileReading]) -> None:
    shared = {"aws_conn_id": "ml_prod", "region_name": "ap-south-1"}
    assert connections(dags["shared"].pipeline) == {"one": shared, "two": shared}
    assert connections(dags["different"].pipeline) == {
        "plain": {"aws_conn_id": None},
        "tuned": {
            "region_name": "eu-north-1",
            "verify": False,
            "botocore_config": {"read_timeout": 90},
        },
        "call": {"aws_conn_id": "Team.B"},
    }
    part = {"region_name": "ap-south-1", "deferrable": True}
    parts = dict.fromkeys(("live-EndpointConfig", "live"), part)
    assert connections(dags["parts"].pipeline) == parts
    for dag in ("shared", "different", "parts"):
        assert not [one for one in dags[dag].losses if one.severity != "info"]
        assert "region_name" not in str(dags[dag].losses)


def test_connection_with_a_template_is_reported_at_its_task(dags: dict[str, FileReading]) -> None:
    found = dags["templated"]
    assert connections(found.pipeline) == {"late": {"aws_conn_id": "ml_prod"}}
    (lost,) = [one for one in found.losses if one.code == "aws-connection"]
    assert lost.severity == "changed"
    assert "task late: region_name is only known at run time" in lost.what


def test_connection_is_written_to_a_dag_and_read_back(
    dags: dict[str, FileReading], reread: Callable[[str, str], Pipeline]
) -> None:
    for name in ("shared", "different"):
        text, losses = sagebridge.write(dags[name].pipeline, "airflow")
        assert losses == ()
        hoisted = 'default_args={"aws_conn_id": "ml_prod", "region_name": "ap-south-1"}' in text
        assert hoisted == (name == "shared")
        again = reread(f"{name}.py", text)
        assert connections(again) == connections(dags[name].pipeline)
        assert sagebridge.write(again, "airflow").text.split("\n")[2:] == text.split("\n")[2:]


def test_connection_id_becomes_an_aws_credentials_block(
    dags: dict[str, FileReading], reread: Callable[[str, str], Pipeline]
) -> None:
    shared = dags["shared"].pipeline
    text = sagebridge.write(shared, "prefect").text
    assert 'begin(aws_credentials="ml-prod", region_name="ap-south-1")' in text
    (lost,) = losses_of_writing(shared, "prefect")
    assert (lost.code, lost.severity, lost.place) == (
        "aws-connection",
        "changed",
        "/Steps/0/Arguments/IfSteps/0",
    )
    assert "it becomes the AwsCredentials block 'ml-prod'" in lost.what
    assert lost.advice == "create this block for the same account"
    again = reread("flow.py", text)
    own = {"aws_credentials": "ml-prod", "region_name": "ap-south-1"}
    assert connections(again) == {"one": own, "two": own}
    assert sagebridge.write(again, "prefect").losses == ()


def test_region_of_a_step_is_written_to_a_flow(dags: dict[str, FileReading]) -> None:
    different = dags["different"].pipeline
    text = sagebridge.write(different, "prefect").text
    assert "begin(" not in text
    assert text.count('region_name="eu-north-1"') == 1
    assert text.count('aws_credentials="team-b"') == 1
    block, client = sorted(losses_of_writing(different, "prefect"), key=lambda one: one.what)
    assert "aws_conn_id='Team.B'" in block.what
    assert "verify=False, botocore_config={'read_timeout': 90}" in client.what
    assert "aws_client_parameters" in client.advice
    assert losses_of_writing(dags["parts"].pipeline, "prefect") == []


def test_block_of_a_flow_becomes_a_connection_id(
    reread: Callable[[str, str], Pipeline],
) -> None:
    flow = """
from prefect import flow
from sagebridge_operators.prefect import begin, fail, finish, model


@flow(name="f")
def f():
    begin(aws_credentials="team", region_name="eu-north-1")
    model("a", arguments={"PrimaryContainer": {"Image": "i"}})
    model("b", arguments={"PrimaryContainer": {"Image": "i"}}, region_name="us-west-2")
    fail("c", error_message="stop")
    return finish()
"""
    pipeline = reread("flow.py", flow)
    text = sagebridge.write(pipeline, "airflow").text
    assert text.count('aws_conn_id="team"') == 2
    assert text.count('region_name="us-west-2"') == 1
    losses = losses_of_writing(pipeline, "airflow")
    assert [one.code for one in losses] == ["aws-connection"] * 2
    assert "becomes the connection id" in losses[0].what


def test_definition_reports_the_connections(dags: dict[str, FileReading]) -> None:
    for target in ("sagemaker", "create-pipeline", "cloudformation"):
        (lost,) = [one for one in _sagemaker(dags["shared"].pipeline, target) if _is_about(one)]
        assert (lost.code, lost.severity) == ("aws-connection", "changed")
        assert "steps 'one', 'two' connect with aws_conn_id='ml_prod'" in lost.what
        assert lost.advice == "create the pipeline in that account and region"
    found = [one for one in _sagemaker(dags["different"].pipeline, "sagemaker") if _is_about(one)]
    assert ["tuned" in one.what or "call" in one.what for one in found] == [True, True]
    assert all("other pipelines" in one.advice for one in found)


def _is_about(loss: Loss) -> bool:
    return loss.code == "aws-connection"


def _sagemaker(pipeline: Pipeline, document: str) -> tuple[Loss, ...]:
    from sagebridge.formats.sagemaker.document_writers import write_request, write_template
    from sagebridge.formats.sagemaker.writer import write

    writers = {"sagemaker": write, "create-pipeline": write_request}
    return writers.get(document, write_template)(pipeline)[1]


def test_map_replaces_the_region_of_a_connection(dags: dict[str, FileReading]) -> None:
    from sagebridge.environment_mapping import rewrite

    changed, missing = rewrite(dags["shared"].pipeline, {"ap-south-1": "ap-south-2"})
    assert missing == ()
    assert {one["region_name"] for one in connections(changed).values()} == {"ap-south-2"}


def test_live_dag_of_a_pipeline_has_its_connections(dags: dict[str, FileReading]) -> None:
    from sagebridge_operators.airflow.dag_builder import build

    tasks: dict[str, Any] = {one.task_id: one for one in build(dags["different"].pipeline).tasks}
    assert tasks["tuned"].region_name == "eu-north-1"
    assert tasks["tuned"].botocore_config == {"read_timeout": 90}
    assert tasks["plain"].aws_conn_id is None
    assert tasks["default"].aws_conn_id == "aws_default"
    shared: dict[str, Any] = {one.task_id: one for one in build(dags["shared"].pipeline).tasks}
    assert (shared["two"].aws_conn_id, shared["two"].region_name) == ("ml_prod", "ap-south-1")


@pytest.mark.parametrize("deferrable", [True, False])
def test_deferrable_is_carried_to_dag_files_only(
    deferrable: bool, reread: Callable[[str, str], Pipeline]
) -> None:
    model = Step("a", "Model", arguments={"PrimaryContainer": {"Image": "i"}})
    waits = freeze({"deferrable": deferrable})
    pipeline = Pipeline(steps=(model,), name="p", connections={"a": waits})
    text = sagebridge.write(pipeline, "airflow").text
    assert f'"deferrable": {deferrable}' in text
    assert connections(reread("dag.py", text)) == {"a": {"deferrable": deferrable}}
    for target in ("airflow", "prefect", "sagemaker"):
        assert not [one for one in losses_of_writing(pipeline, target) if "deferr" in one.what]
