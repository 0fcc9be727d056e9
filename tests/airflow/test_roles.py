"""The role in the create request of a job."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

import sagebridge
from sagebridge.model.expressions import parameter, plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import thaw
from sagebridge_operators.airflow import ModelOperator, TrainingOperator, build
from sagebridge_operators.backends.aws import AwsBackend
from tests.dagtest import new_id, play
from tests.fakes import FakeBackend, FakeSageMaker
from tests.shapes import model, training

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]


def role(name: str) -> str:
    return f"arn:aws:iam::111122223333:role/{name}"


def without(step: Step, member: str) -> dict[str, Any]:
    """The arguments of a step without its role."""
    return {name: value for name, value in thaw(step.arguments).items() if name != member}


TRAIN: Any = without(training("Train"), "RoleArn")
MAKE: Any = without(model("Make"), "ExecutionRoleArn")


def roles(aws: FakeSageMaker) -> tuple[str, str]:
    (train,), (make,) = aws.called("create_training_job"), aws.called("create_model")
    return train["RoleArn"], make["ExecutionRoleArn"]


@pytest.mark.parametrize(
    ("arguments", "own", "pipeline", "expected"),
    [
        (role("arguments"), role("step"), role("pipeline"), "arguments"),
        (parameter("Role"), role("step"), role("pipeline"), "parameter"),
        (None, role("step"), role("pipeline"), "step"),
        (None, None, role("pipeline"), "pipeline"),
        (None, None, None, "default"),
    ],
)
def test_role_of_operator(
    arguments: Any,
    own: str | None,
    pipeline: str | None,
    expected: str,
    aws: FakeSageMaker,
    backend: FakeBackend,
) -> None:
    backend.default_role = role("default")
    given: dict[str, Any] = {"role_arn": own} if own else {}
    defaults = {"role_arn": pipeline} if pipeline else {}

    def request(rest: dict[str, Any], member: str) -> dict[str, Any]:
        return rest if arguments is None else {**rest, member: arguments}

    with DAG(new_id(), params={"Role": role("parameter")}, default_args=defaults) as dag:
        TrainingOperator(task_id="Train", arguments=request(TRAIN, "RoleArn"), **given)
        ModelOperator(task_id="Make", arguments=request(MAKE, "ExecutionRoleArn"), **given)
    assert play(dag).state == "success"
    assert roles(aws) == (role(expected), role(expected))


@pytest.mark.parametrize(
    ("start", "expected"), [({}, "pipeline"), ({"role_arn": role("start")}, "start")]
)
def test_role_of_pipeline_reaches_built_and_written_dags(
    start: dict[str, Any], expected: str, aws: FakeSageMaker
) -> None:
    steps = (
        Step("Train", "Training", arguments=plain(TRAIN)),
        Step("Make", "Model", arguments=plain(MAKE)),
    )
    name = new_id()
    pipeline = Pipeline(steps=steps, name=name, role_arn=role("pipeline"))
    dag = build(pipeline, **start)
    assert play(dag).state == "success"
    assert roles(aws) == (role(expected), role(expected))

    aws.calls.clear()
    names: dict[str, Any] = {"__name__": "written"}
    exec(sagebridge.write(pipeline, "airflow").text, names)
    (written,) = {
        id(one.dag): one.dag for one in names.values() if hasattr(one, "task_id")
    }.values()
    assert play(written).state == "success"
    assert roles(aws) == (role("pipeline"), role("pipeline"))


def test_default_role_on_aws_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEBRIDGE_ROLE", role("default"))
    assert AwsBackend().default_role == role("default")
    monkeypatch.delenv("SAGEBRIDGE_ROLE")
    assert AwsBackend().default_role is None
