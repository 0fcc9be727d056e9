"""Calls of ``pipeline_flow`` in a traced flow: the steps of the pipeline are steps of the flow."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.conditions import greater_than
from sagebridge.model.expressions import current_item, get, parameter, plain
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from tests.formats.prefect.traced_flows import TraceFlow, shape
from tests.shapes import model, training

pytestmark = pytest.mark.prefect
AGES = Pipeline(
    name="ages",
    parameters=(Parameter("Data", "String"), Parameter("Rows", "Integer", 1)),
    steps=(
        model("Prepare", Containers=[{"Image": "i", "ModelDataUrl": parameter("Data")}]),
        training("Train", depends_on=("Prepare",)),
        ConditionStep(
            "Check",
            conditions=(greater_than(parameter("Rows"), 0),),
            depends_on=("Train",),
            if_steps=(model("Keep", "Prepare"),),
            else_steps=(),
        ),
    ),
)
PIPELINE_FLOW = """
from sagebridge_operators.prefect import finish, pipeline_flow, training

ages = pipeline_flow("ages.json", backend="local", region_name="eu-west-1")

"""


@pytest.fixture
def ages(tmp_path: Path, traced: TraceFlow) -> TraceFlow:
    """Traces a flow in whose file ``ages`` is a pipeline_flow."""
    (tmp_path / "ages.json").write_text(sagebridge.write(AGES, "sagemaker").text)
    return lambda body, **more: traced(body, before=PIPELINE_FLOW, **more)


def line_of(loss: Loss) -> int:
    return int(loss.place.rpartition(":")[2])


def test_steps_of_a_pipeline_flow_are_a_group(ages: TraceFlow) -> None:
    body = """
first = training("Train", arguments={})
data = one(x)
finish()
result = ages(Data=data, Rows="2")
two(result["outputs"]["Train"]["model_artifact"])
ages(Data="s3://b/2")
"""
    pipeline, losses = ages(body)
    assert shape(pipeline) == [
        *("Train", "one", "ages-Prepare", "ages-Train"),
        ["ages-Check", ["ages-Keep"], []],
        *("two", "ages-2-Prepare", "ages-2-Train"),
        ["ages-2-Check", ["ages-2-Keep"], []],
    ]
    steps = {step.name: step for step in walk(pipeline)}
    prepare, again = steps["ages-Prepare"], steps["ages-2-Prepare"]
    assert prepare.arguments["Containers"][0]["ModelDataUrl"] == get("Steps.one.return_value")
    assert again.arguments["Containers"][0]["ModelDataUrl"] == "s3://b/2"
    assert (prepare.engine.group, again.engine.group) == (("ages",), ("ages-2",))
    image = steps["ages-Keep"].arguments["Containers"][0]["Image"]
    assert image == get("Steps.ages-Prepare.ModelName")
    conditions = [step.conditions for step in walk(pipeline) if isinstance(step, ConditionStep)]
    assert conditions == [(greater_than(2, 0),), (greater_than(1, 0),)]
    # finish() and a call of a flow return when their steps have ended.
    assert (prepare.depends_on, again.depends_on) == (("Train",), ("two",))
    assert steps["two"].arguments["args"] == (
        get("Steps.ages-Train.ModelArtifacts.S3ModelArtifacts"),
    )
    assert set(pipeline.connections) == {
        f"{group}-{name}" for group in ("ages", "ages-2") for name in ("Prepare", "Train", "Keep")
    }
    assert {one["region_name"] for one in pipeline.connections.values()} == {"eu-west-1"}
    assert [(line_of(loss), loss.severity, loss.what) for loss in losses] == [
        (line, severity, f"subflow 'ages': {what}")
        for line in (23, 25)
        for severity, what in (
            ("info", "its steps become steps of this flow"),
            ("changed", "these settings have no effect: backend"),
        )
    ]


def test_pipeline_flow_runs_for_each_item_of_a_run_time_list(ages: TraceFlow) -> None:
    pipeline, _ = ages("for day in x:\n    ages(Data=day)", arguments="x: list[str]")
    (loop,) = pipeline.steps
    assert isinstance(loop, ForEachStep)
    assert [step.name for step in loop.inner] == ["ages-Prepare", "ages-Train", "ages-Check"]
    assert loop.inner[0].arguments["Containers"][0]["ModelDataUrl"] == plain(current_item)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("ages(Dat=x)", "ages(): missing a required argument: 'Data'"),
        ("ages(Data=x, Rows='many')", "ages(): Rows: expected an Integer, got 'many'"),
        ("two(ages(Data=x))", "an argument is a value of type PipelineResult"),
    ],
)
def test_lost_call_of_a_pipeline_flow_has_a_line(ages: TraceFlow, call: str, what: str) -> None:
    pipeline, losses = ages(f"one(x)\n{call}")
    assert shape(pipeline)[0] == "one"
    (lost,) = [loss for loss in losses if loss.severity == "dropped"]
    assert line_of(lost) == 20
    assert lost.what.startswith(what)


def test_file_with_only_a_pipeline_flow_has_its_pipeline(tmp_path: Path, ages: TraceFlow) -> None:
    del ages  # writes the definition
    file = tmp_path / "only.py"
    file.write_text(f"{PIPELINE_FLOW}if __name__ == '__main__':\n    ages.serve()\n")
    ((pipeline, losses),) = trace(file)
    assert (pipeline.name, pipeline.steps) == ("ages", AGES.steps)
    assert [one.name for one in pipeline.declared] == ["Data", "Rows"]
    assert [(line_of(loss), loss.what) for loss in losses] == [
        (4, "the flow: backend of all steps is not carried over")
    ]
