"""Hand-written flows: results of tasks in steps, tasks between steps, and pipelines as subflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.flow_signature import live_arguments
from sagebridge.errors import UsageError
from sagebridge.model.conditions import greater_than
from sagebridge.model.expressions import parameter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline
from sagebridge.model.values import Object
from sagebridge_operators.prefect import pipeline_flow
from tests.fakes import FakeBackend, Plan
from tests.prefect.conftest import Run, flow_of
from tests.prefect.test_step_values import played
from tests.shapes import fail, model, training

pytestmark = pytest.mark.prefect
PAGE = Path(__file__).parent.parent.parent / "docs" / "hand-written.md"
AGES = Pipeline(
    name="ages",
    parameters=(
        Parameter("InputData", "String"),
        Parameter("Instances", "Integer", 1, limits=Object({"minimum": 1})),
        Parameter("Kind", "String", "a", enum_values=("a", "b")),
        Parameter("Limit", "Float", 0.5),
    ),
    steps=(
        model("Prepare", Containers=[{"Image": "i", "ModelDataUrl": parameter("InputData")}]),
        training("Train", depends_on=["Prepare"]),
        ConditionStep(
            "Check",
            conditions=(greater_than(parameter("Limit"), 0.1),),
            depends_on=["Train"],
            if_steps=(model("Keep", "Prepare"),),
            else_steps=(fail("Stop"),),
        ),
        ForEachStep("Fan", items=["x", "y"], max_concurrency=1, body=(model("Score"),)),
    ),
)


def test_flow_of_the_page_runs_steps_between_its_tasks(
    play: Run, backend: FakeBackend, tmp_path: Path
) -> None:
    aws = backend.sagemaker
    aws.plans["Train"] = Plan(ending={"ModelArtifacts": {"S3ModelArtifacts": "s3://b/m.tar.gz"}})
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "ages.json").write_text(sagebridge.write(AGES, "sagemaker").text)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(blocks[-1], str(tmp_path / "flow.py"), "exec"), names)
    run = play(names["nightly_ages"])
    assert run.run.state.name == "Completed"
    first, second = aws.called("create_processing_job")
    assert first["AppSpecification"]["ContainerArguments"] == ["--region", "eu"]
    data = f"s3://my-bucket/{first['ProcessingJobName']}/ages.csv"
    assert second["AppSpecification"]["ContainerArguments"] == ["--data", data]
    urls = [one["Containers"][0].get("ModelDataUrl") for one in aws.called("create_model")]
    assert [url for url in urls if url] == [data]
    # The pipeline has its own execution.
    assert len(aws.called("create_training_job")) == 1
    assert {"Clean", "Check"} <= run.states.keys()
    assert "Train" not in run.states


def test_task_between_steps_gets_values_of_the_step_before(play: Run, backend: FakeBackend) -> None:
    run, seen = played(
        play,
        backend,
        """
train = trained("Train")
name = note(train.properties.TrainingJobName)
note(train)
note(join('/', 'a', train.properties.ModelArtifacts.S3ModelArtifacts))
note("after", wait_for=[train])
other = trained("Other")
other.wait()
note.submit(other.properties.TrainingJobName).wait()
kwargs = {"more": {"x": [note.submit(name)]}}
last = python("Last", lambda one, more: more["x"][0], args=[1], kwargs=kwargs)
note(last.properties.return_value)
return finish()
""",
    )
    assert run.run.state.name == "Completed"
    jobs = list(backend.sagemaker.jobs)
    assert [seen[0], seen[1]["job_name"]] == [jobs[0], jobs[0]]
    assert seen[2:4] == ["a/s3://bucket/model.tar.gz", "after"]
    assert seen[4:] == [jobs[1], jobs[0], jobs[0]]


def test_task_after_a_failed_step_ends_the_flow(play: Run, backend: FakeBackend) -> None:
    backend.sagemaker.plans["Bad"] = Plan(("Failed",), ending={"FailureReason": "no data"})
    body = "bad = trained('Bad')\nother = trained('Other')\nnote(bad.properties.TrainingJobName)\n"
    run, seen = played(play, backend, body + "return finish()")
    assert seen == []
    assert run.run.state.name == "Failed"
    assert "no data" in run.run.state.message
    assert run.states["Other"] == "Completed"


def test_pipeline_flow_has_the_signature_of_the_pipeline() -> None:
    made = pipeline_flow(AGES)
    assert made.name == "ages"
    found = {one.name: one for one in live_arguments(made.fn)}
    assert {name: one.type for name, one in found.items()} == {
        "InputData": "str",
        "Instances": "int",
        "Kind": "str",
        "Limit": "float",
    }
    assert found["Kind"].choices == ("a", "b")
    assert found["Instances"].limits == Object({"minimum": 1})
    assert made.parameters.required == ["InputData"]


@pytest.mark.parametrize(("limit", "state"), [(0.5, "Completed"), (0.0, "Failed")])
def test_flow_runs_a_pipeline_twice_between_its_steps(
    play: Run, backend: FakeBackend, limit: float, state: str
) -> None:
    outer = flow_of(
        """
from prefect import flow
from sagebridge_operators.prefect import finish, python

@flow(name="outer")
def outer(limit: float = 0.5) -> object:
    first = python("First", lambda: 1)
    results = [ages(InputData="s3://b/1"), ages(InputData="s3://b/2", Limit=limit)]
    last = python("Last", lambda value, models: models, args=[
        first.properties.return_value, [one["outputs"]["Keep"]["model_name"] for one in results]])
    return finish()
"""
    )
    outer.fn.__globals__["ages"] = pipeline_flow(AGES)
    run = play(outer, {"limit": limit})
    assert run.run.state.name == state
    if state == "Completed":
        last = run.steps["Last"].outputs
        assert last is not None
        made = [name for name in backend.sagemaker.jobs if "-Keep-" in name]
        assert last["return_value"] == made
        assert len(made) == 2
        assert len(backend.sagemaker.jobs) == 10
    else:
        assert "no" in run.run.state.message


def test_bad_definition_is_an_error_of_the_flow_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{"Version": "2020-12-01", "Steps": [{"Name": "A"}]}')
    with pytest.raises(UsageError, match="'Type'"):
        pipeline_flow(file)
    with pytest.raises(UsageError, match=r"missing\.json"):
        pipeline_flow("missing.json")
