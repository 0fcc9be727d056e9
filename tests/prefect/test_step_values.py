"""Properties of steps as arguments of a flow's own tasks."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from tests.fakes import FakeBackend, Plan
from tests.prefect.conftest import FinishedRun, Run, flow_of

pytestmark = pytest.mark.prefect

HEAD = """
from prefect import flow, task
from sagebridge_operators.prefect import (
    condition, equals, finish, get, join, json_get_s3, model, parameter, python, training
)

seen = []
ROLE = "arn:aws:iam::111122223333:role/r"
RESOURCES = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
ARTIFACT = {"S3ModelArtifacts": "s3://bucket/model.tar.gz"}

@task
def note(value, *more):
    seen.append(value)
    return value

def trained(name, **more):
    return training(name, arguments={
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "Environment": {"TOKEN": "hunter2"},
    }, **more)
"""


def played(play: Run, backend: FakeBackend, body: str) -> tuple[FinishedRun, list[Any]]:
    """Runs a flow with this body; returns what its own task received."""
    ending = {"ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"}}
    backend.sagemaker.plans["Train"] = Plan(ending=ending)
    backend.objects["s3://bucket/report.json"] = b'{"mse": 4.5}'
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    flow = flow_of(
        f"{HEAD}\n@flow(name='own tasks')\ndef own_tasks(stage: str = 'dev') -> object:\n{lines}\n"
    )
    seen: list[Any] = flow.fn.__globals__["seen"]
    seen.clear()
    return play(flow), seen


def test_properties_are_values_after_finish(play: Run, backend: FakeBackend) -> None:
    run, seen = played(
        play,
        backend,
        """
train = trained("Train")
rows = python("Rows", lambda: {"rows": [1, 2]})
check = condition("Check", conditions=[equals(1, 2)])
early = train.properties.ModelArtifacts.S3ModelArtifacts
result = finish()
late = train.properties.ModelArtifacts.S3ModelArtifacts
assert type(late) is str
assert f"{late}".startswith("s3://")
note(late)
note(early)
note.submit([early, {"rows": rows.properties.return_value["rows"]}]).wait()
note(train.properties.ModelArtifacts)
note(check.properties.Outcome)
note(train.properties.Environment)
return result
""",
    )
    uri = "s3://bucket/model.tar.gz"
    assert run.run.state.name == "Completed"
    assert seen == [
        uri,
        uri,
        [uri, {"rows": [1, 2]}],
        {"S3ModelArtifacts": uri},
        "False",
        {"TOKEN": "***"},
    ]
    assert json.loads(json.dumps(seen[3])) == pickle.loads(pickle.dumps(seen[3])) == seen[3]
    assert type(pickle.loads(pickle.dumps(seen[3]))) is dict


def test_task_depends_on_the_task_run_of_its_step(play: Run, backend: FakeBackend) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    run, _ = played(
        play,
        backend,
        """
train = trained("Train")
early = train.properties.TrainingJobArn
result = finish()
note(early)
return result
""",
    )
    with get_client(sync_client=True) as client:
        of_run = FlowRunFilter(id={"any_": [run.run.id]})
        tasks = {task.name: task for task in client.read_task_runs(flow_run_filter=of_run)}
    (note,) = [task for name, task in tasks.items() if name.startswith("note")]
    assert [one.id for one in note.task_inputs["value"]] == [tasks["Train"].id]


@pytest.mark.parametrize(
    "use",
    [
        "note.submit(train.properties.ModelArtifacts.S3ModelArtifacts)",
        "note.map([train.properties.ModelArtifacts.S3ModelArtifacts])",
    ],
)
def test_property_of_a_step_that_has_not_ended_is_an_error(
    use: str, play: Run, backend: FakeBackend
) -> None:
    run, seen = played(play, backend, f"train = trained('Train')\n{use}\nreturn finish()")
    assert seen == []
    assert run.run.state.name == "Failed"
    assert (
        "ModelArtifacts.S3ModelArtifacts of step 'Train': it has no value yet, as the step has not "
        "ended; call wait() of the step first, or use it after finish()"
    ) in run.run.state.message


def test_expressions_and_steps_are_values_after_finish(play: Run, backend: FakeBackend) -> None:
    _, seen = played(
        play,
        backend,
        """
train = trained("Train")
check = condition("Check", conditions=[equals(1, 2)])
artifact = train.properties.ModelArtifacts.S3ModelArtifacts
result = finish()
note(join("/", parameter("stage"), get("Steps.Train.ModelArtifacts.S3ModelArtifacts"), artifact))
note([json_get_s3("s3://bucket/report.json", "mse"), parameter("stage")])
note(train)
note("after", wait_for=[check])
return result
""",
    )
    uri = "s3://bucket/model.tar.gz"
    assert seen[0] == f"dev/{uri}/{uri}"
    assert seen[1] == [4.5, "dev"]
    assert seen[2]["model_artifact"] == uri
    assert seen[3] == "after"


def test_parameter_before_the_first_step_ran_is_an_error(play: Run, backend: FakeBackend) -> None:
    body = "train = trained('Train')\nnote(parameter('stage'))\nreturn finish()"
    run, seen = played(play, backend, body)
    assert seen == []
    assert run.run.state.name == "Failed"
    assert "Parameters.stage has no value before finish()" in run.run.state.message
    assert not backend.sagemaker.jobs


@pytest.mark.parametrize("use", ["f'{train.properties.X}'", "str(train.properties.X)"])
def test_property_in_a_string_before_finish_is_an_error(
    use: str, play: Run, backend: FakeBackend
) -> None:
    run, _ = played(play, backend, f"train = trained('Train')\nnote({use})\nreturn finish()")
    assert run.run.state.name == "Failed"
    assert "only known at run time" in run.run.state.message


def test_property_of_a_failed_step_names_its_reason(play: Run, backend: FakeBackend) -> None:
    backend.sagemaker.plans["Bad"] = Plan(("Failed",), ending={"FailureReason": "no data"})
    run, seen = played(
        play,
        backend,
        """
bad = trained("Bad")
after = trained("After", depends_on=[bad])
early = bad.properties.TrainingJobName
result = finish()
assert note(early, return_state=True).name == "NotReady"
for one, words in ((bad, "is Failed: Training job"), (after, "is NotRun")):
    try:
        note(one.properties.TrainingJobName)
    except Exception as error:
        assert words in str(error), error
    else:
        raise AssertionError(one)
return result
""",
    )
    assert seen == []
    assert run.run.state.name == "Failed"
    assert "no data" in run.run.state.message


def test_missing_property_lists_the_available_names(play: Run, backend: FakeBackend) -> None:
    run, _ = played(
        play,
        backend,
        """
train = trained("Train")
early = train.properties.ModelArtifacts.Typo
result = finish()
assert not hasattr(train.properties, "Typo")
try:
    train.properties["ModelArtifacts"]["Typo"]
except Exception as error:
    assert "available: S3ModelArtifacts" in str(error), error
else:
    raise AssertionError
note(early)
return result
""",
    )
    assert run.run.state.name == "Failed"
    assert "Failed to resolve inputs" in run.run.state.message


def test_references_stay_references_during_the_flow(play: Run, backend: FakeBackend) -> None:
    """A step that is declared after a plain ``if`` still depends on the step before it."""
    run, seen = played(
        play,
        backend,
        """
train = trained("Train")
if condition("Check", conditions=[equals(1, 1)], depends_on=[train]):
    note(train.properties.ModelArtifacts.S3ModelArtifacts)
    image = train.properties.ModelArtifacts.S3ModelArtifacts
    model("Use", arguments={"ExecutionRoleArn": ROLE, "Containers": [{"ModelDataUrl": image}]})
return finish()
""",
    )
    assert run.run.state.name == "Completed"
    assert seen == ["s3://bucket/model.tar.gz"]
    (request,) = backend.sagemaker.called("create_model")
    assert request["Containers"][0]["ModelDataUrl"] == "s3://bucket/model.tar.gz"
    definition = run.records.definition(run.id)
    assert "Steps.Train.ModelArtifacts.S3ModelArtifacts" in json.dumps(definition)
