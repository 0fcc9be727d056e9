"""The role in the create request of a job."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import thaw
from tests.fakes import FakeBackend, FakeSageMaker
from tests.prefect.conftest import Run, flow_of
from tests.shapes import model, training

pytestmark = pytest.mark.prefect


def role(name: str) -> str:
    return f"arn:aws:iam::111122223333:role/{name}"


def without(step: Step, member: str) -> dict[str, Any]:
    """The arguments of a step without its role."""
    return {name: value for name, value in thaw(step.arguments).items() if name != member}


TRAIN: Any = without(training("Train"), "RoleArn")
MAKE: Any = without(model("Make"), "ExecutionRoleArn")
FLOW = """
from prefect import flow

from sagebridge_operators.prefect import begin, finish, model, parameter, training

TRAIN, MAKE = {requests!r}


@flow(name="Roles")
def roles(Role: str = "arn:aws:iam::111122223333:role/parameter") -> object:
    begin({begin})
    training("Train", arguments={{**TRAIN{train}}}{own})
    model("Make", arguments={{**MAKE{make}}}{own})
    return finish()
"""


def roles(aws: FakeSageMaker) -> tuple[str, str]:
    (train,), (make,) = aws.called("create_training_job"), aws.called("create_model")
    return train["RoleArn"], make["ExecutionRoleArn"]


@pytest.mark.parametrize(
    ("arguments", "own", "pipeline", "expected"),
    [
        (repr(role("arguments")), role("step"), role("pipeline"), "arguments"),
        ('parameter("Role")', role("step"), role("pipeline"), "parameter"),
        (None, role("step"), role("pipeline"), "step"),
        (None, None, role("pipeline"), "pipeline"),
        (None, None, None, "default"),
    ],
)
def test_role_of_step_function(
    arguments: str | None,
    own: str | None,
    pipeline: str | None,
    expected: str,
    play: Run,
    aws: FakeSageMaker,
    backend: FakeBackend,
) -> None:
    backend.default_role = role("default")
    text = FLOW.format(
        requests=(TRAIN, MAKE),
        begin=f"role_arn={pipeline!r}",
        own=f", role_arn={own!r}" if own else "",
        train=f', "RoleArn": {arguments}' if arguments else "",
        make=f', "ExecutionRoleArn": {arguments}' if arguments else "",
    )
    played = play(flow_of(text))
    assert set(played.states.values()) == {"Completed"}
    assert roles(aws) == (role(expected), role(expected))


def test_role_of_pipeline_reaches_written_flow(play: Run, aws: FakeSageMaker) -> None:
    steps = (
        Step("Train", "Training", arguments=plain(TRAIN)),
        Step("Make", "Model", arguments=plain(MAKE)),
    )
    pipeline = Pipeline(steps=steps, name="Roles", role_arn=role("pipeline"))
    play(flow_of(write(pipeline)[0]))
    assert roles(aws) == (role("pipeline"), role("pipeline"))
