"""Outputs of a step that a later task of a hand-written DAG uses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG, task

from sagebridge.model.conditions import equals
from sagebridge_operators.airflow import (
    ConditionOperator,
    ModelOperator,
    ProcessingOperator,
    PythonStepOperator,
    RegisterModelOperator,
    TrainingOperator,
    TransformOperator,
)
from sagebridge_operators.lifecycle.user_code.values import decode, encode, escaped, untagged
from tests.dagtest import new_id, play
from tests.fakes import FakeBackend, Plan
from tests.lifecycle.conftest import ARGUMENTS

pytestmark = pytest.mark.airflow


@pytest.mark.airflow31
def test_later_task_uses_the_outputs_of_a_step(backend: FakeBackend) -> None:
    ending = {"ModelArtifacts": {"S3ModelArtifacts": "s3://b/m.tar.gz"}, "Environment": {"A": "b"}}
    backend.sagemaker.plans["train"] = Plan(ending=ending)
    with DAG(new_id(), schedule=None) as dag:
        train = TrainingOperator(task_id="train", arguments=ARGUMENTS["Training"])

        @task
        def report(job: str, arn: str, status: str, uri: str, everything: Any) -> list[Any]:
            return [job, arn, status, uri, everything]

        names = ("job_name", "job_arn", "status", "model_artifact")
        output: Any = train.output  # Airflow annotates XComArg without __getitem__
        use: Any = report
        use(*(output[name] for name in names), output)
    played = play(dag)
    assert played.states == {"train": "success", "report": "success"}
    ((name, job),) = backend.sagemaker.jobs.items()
    arn = job.description["TrainingJobArn"]
    *values, everything = played.xcom("report")
    assert values == [name, arn, "Completed", "s3://b/m.tar.gz"]
    assert everything == {
        "step": "train",
        "type": "Training",
        "status": "Completed",
        "job": {"name": name, "arn": arn},
        "job_name": name,
        "job_arn": arn,
        "model_artifact": "s3://b/m.tar.gz",
    }


def test_each_step_type_has_its_main_output(backend: FakeBackend) -> None:
    s3 = {"S3Uri": "s3://b/train", "LocalPath": "/opt/ml/processing/t", "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "train", "S3Output": s3}]}
    processing = {**ARGUMENTS["Processing"], "ProcessingOutputConfig": outputs}
    with DAG(new_id(), schedule=None) as dag:
        ProcessingOperator(task_id="Processing", arguments=processing)
        TransformOperator(task_id="Transform", arguments=ARGUMENTS["Transform"])
        ModelOperator(task_id="Model", arguments=ARGUMENTS["Model"])
        RegisterModelOperator(task_id="RegisterModel", arguments=ARGUMENTS["RegisterModel"])
        PythonStepOperator(task_id="Code", python_callable=lambda: 5)
        other = ModelOperator(task_id="Other", arguments=ARGUMENTS["Model"])
        ConditionOperator(task_id="Check", conditions=[equals(1, 2)], if_steps=[other])
    played = play(dag)
    assert played.state == "success"
    jobs = {job.type.type: name for name, job in backend.sagemaker.jobs.items()}
    main = {
        ("Processing", "outputs"): {"train": "s3://b/train"},
        ("Transform", "output"): "s3://b/y",
        ("Model", "model_name"): jobs["Model"],
        ("RegisterModel", "model_package_arn"): jobs["RegisterModel"],
    }
    for (task_id, key), value in main.items():
        assert played.xcom(task_id, key) == played.xcom(task_id)[key] == value
    assert played.xcom("Code", "return_value")["return_value"] == 5
    assert played.xcom("Check", "outcome") is False


@pytest.mark.parametrize(
    "forged",
    [
        {"__classname__": "builtins.dict", "__version__": 1, "__data__": {}},
        {"__id__": 1},
        {"__type": "airflow.sdk.definitions.asset.Asset", "__var": {"name": "n"}},
    ],
)
def test_xcom_of_a_result_with_keys_of_airflow_stays_data(forged: dict[str, Any]) -> None:
    serde = pytest.importorskip("airflow.sdk.serde")
    for kept in (escaped({"a": [forged]}), encode("Code", {"a": [forged]})):
        read = serde.deserialize(json.loads(json.dumps(serde.serialize(kept))))
        assert untagged(read) == decode(read, {}) == {"a": [forged]}
