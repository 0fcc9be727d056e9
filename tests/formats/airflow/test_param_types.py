"""Params that are strings, in request fields that are numbers or Booleans."""

from __future__ import annotations

from typing import Any

import pytest

import sagebridge
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.parameters import Parameter
from sagebridge.model.values import ABSENT, thaw
from tests.formats.airflow.conftest import ReadAll

pytestmark = pytest.mark.airflow

DAGS = """
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerTransformOperator,
)
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param


def transform(**more):
    return {
        "TransformJobName": "scores",
        "ModelName": "scorer",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://in/rows"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://out/rows"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
    }


with DAG(
    "text",
    params={
        "machines": "3",
        "megabytes": Param("6", type="string", enum=["6", "12"]),
        "asked": Param(type="string"),
        "weight": "0.25",
        "capture": "true",
        "shared": "2",
        "plain": "7",
        "number": 4,
    },
) as dag:
    SageMakerTransformOperator(
        task_id="score",
        config=transform(
            TransformResources={
                "InstanceType": "ml.m5.large",
                "InstanceCount": "{{ params.machines }}",
            },
            MaxPayloadInMB="{{ params.megabytes | int }}",
            MaxConcurrentTransforms="{{ dag_run.conf['asked'] }}",
            Environment={"SHARED": "{{ params.shared }}", "PLAIN": "{{ params.plain }}"},
        ),
    )
    variant = {
        "VariantName": "v",
        "ModelName": "{{ params.shared }}-{{ params.number }}",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": "{{ params.shared }}",
        "InitialVariantWeight": "{{ params.weight }}",
    }
    SageMakerEndpointConfigOperator(
        task_id="config",
        config={
            "EndpointConfigName": "c",
            "ProductionVariants": [variant],
            "EnableNetworkIsolation": "{{ params.capture }}",
        },
    )
    SageMakerTransformOperator(
        task_id="again",
        config=transform(MaxPayloadInMB=dag.param("number"), MaxConcurrentTransforms="5"),
    )
    BashOperator(task_id="say", bash_command="echo $N", env={"N": dag.param("shared")})

with DAG("unfit", params={"many": "a few", "both": "1", "real": 1.5}):
    SageMakerTransformOperator(
        task_id="score",
        config=transform(
            MaxPayloadInMB="{{ params.many }}", MaxConcurrentTransforms="{{ params.real }}"
        ),
    )
    SageMakerEndpointConfigOperator(
        task_id="config",
        config={
            "EndpointConfigName": "c",
            "ProductionVariants": [
                {
                    "VariantName": "v",
                    "ModelName": "m",
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": "{{ params.both }}",
                }
            ],
            "EnableNetworkIsolation": "{{ params.both }}",
        },
    )

with DAG("parts", params={"hours": "2"}):
    SageMakerTransformOperator(
        task_id="score", config=transform(MaxPayloadInMB="{{ params.hours }}0")
    )
"""


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    return read_all(DAGS)


def declared(found: FileReading) -> dict[str, Parameter]:
    return {one.name: one for one in found.pipeline.declared}


def step(found: FileReading, name: str) -> Any:
    text = sagebridge.write(found.pipeline, "sagemaker").text
    one = sagebridge.read(text).pipeline.step(name)
    assert one is not None
    from sagebridge.authoring.expression_json import write_value

    return write_value(one.arguments)


def test_param_gets_the_type_of_its_field_and_a_converted_default(
    dags: dict[str, FileReading],
) -> None:
    found = {name: (one.type, thaw(one.default)) for name, one in declared(dags["text"]).items()}
    assert found == {
        "machines": ("Integer", 3),
        "megabytes": ("Integer", 6),
        "asked": ("Integer", ABSENT),
        "weight": ("Float", 0.25),
        "capture": ("Boolean", True),
        "shared": ("Integer", 2),
        "plain": ("String", "7"),
        "number": ("Integer", 4),
    }
    assert declared(dags["text"])["megabytes"].enum_values == (6, 12)
    converted = [one.what for one in dags["text"].losses if one.code == "param-type"]
    assert len(converted) == 6
    assert "the param 'machines' becomes a parameter of type Integer" in converted[0]
    assert {one.severity for one in dags["text"].losses} == {"info"}


def test_number_field_refers_to_the_parameter_itself(dags: dict[str, FileReading]) -> None:
    score = step(dags["text"], "score")
    assert score["TransformResources"]["InstanceCount"] == {"Get": "Parameters.machines"}
    assert score["MaxPayloadInMB"] == {"Get": "Parameters.megabytes"}
    assert score["MaxConcurrentTransforms"] == {"Get": "Parameters.asked"}
    again = step(dags["text"], "again")
    assert again["MaxPayloadInMB"] == {"Get": "Parameters.number"}
    assert again["MaxConcurrentTransforms"] == 5


def test_string_field_joins_a_converted_parameter(dags: dict[str, FileReading]) -> None:
    joined = {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.shared"}]}}
    assert step(dags["text"], "score")["Environment"] == {
        "SHARED": joined,
        "PLAIN": {"Get": "Parameters.plain"},
    }
    say = dags["text"].pipeline.step("say")
    assert say is not None
    text = sagebridge.write(dags["text"].pipeline, "airflow").text
    assert 'env={"N": join("", parameter("shared"))}' in text


def test_converted_dag_validates(dags: dict[str, FileReading]) -> None:
    for name in ("text", "parts"):
        findings = sagebridge.validate(write(dags[name].pipeline)[0])
        assert [one for one in findings if one.severity == "error"] == []


def test_default_that_is_not_a_number_is_reported(dags: dict[str, FileReading]) -> None:
    found = declared(dags["unfit"])
    assert {name: one.type for name, one in found.items()} == {
        "many": "String",
        "both": "String",
        "real": "Float",
    }
    losses = {one.what: one for one in dags["unfit"].losses if one.code == "param-type"}
    assert {one.severity for one in losses.values()} == {"changed"}
    assert list(losses) == [
        "the DAG: the param 'many' is a String, but a request uses it as Integer",
        "the DAG: the param 'both' is a String, but a request uses it as Boolean and Integer",
        "the DAG: the param 'real' is a Float, but a request uses it as Integer",
    ]


def test_number_built_from_several_parts_becomes_a_parameter(
    dags: dict[str, FileReading],
) -> None:
    found = declared(dags["parts"])
    assert found["hours"].type == "String"
    asked = found["params_hours_0"]
    assert (asked.type, asked.default) == ("Integer", ABSENT)
    assert step(dags["parts"], "score")["MaxPayloadInMB"] == {"Get": "Parameters.params_hours_0"}
    (lost,) = [one for one in dags["parts"].losses if one.code == "template"]
    assert (lost.severity, lost.advice) == ("changed", "set the parameter")
