"""Whatever the model holds is in a written file and comes back, or a loss reports it.

Each row sets one field of the model. The rows are checked against the fields of the classes, so a
new field fails here until it has a row.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.model.conditions import equals
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.expressions import execution, plain
from sagebridge.model.losses import counted
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Parallelism, Pipeline, Step, walk
from sagebridge.model.schedules import Schedule
from sagebridge.model.step_settings import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import same
from tests.parameter_values import PARAMETERS

QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/events"
LEAF = Step("Leaf", "Fail", arguments=plain({"ErrorMessage": "no"}))
STEP: dict[str, Any] = {
    "arguments": plain({"Image": execution.pipeline_name}),
    "depends_on": ("Leaf",),
    "retry_policies": (RetryPolicy(("Step.THROTTLING",), max_attempts=3),),
    "cache_config": CacheConfig(True, "PT1H"),
    "property_files": (PropertyFile("Report", "out", "report.json"),),
    "output_parameters": (OutputParameter("rows", "String"),),
    "display_name": "a title",
    "description": "what it does",
    "extra": plain({"LambdaHeaders": {"a": [1, None]}}),
    "engine": EngineSettings(
        2, [30, 60], timeout=600, trigger_rule="all_done", pool="heavy", priority=3
    ),  # the documentation of a step is its description
    "conditions": (equals(execution.pipeline_name, "x"),),
    "if_steps": (LEAF,),
    "else_steps": (LEAF,),
}
PARAMETER: dict[str, Any] = {
    "type": "Float",
    "default": 2.5,
    "enum_values": (1.5, 2.5),
    "description": "how many",
    "extra": plain({"Unit": "kg"}),
    "limits": plain({"minimum": 1, "exclusiveMaximum": 10.5, "multipleOf": 0.5}),
    "nullable": True,
}
PIPELINE: dict[str, Any] = {
    "parameters": (Parameter("n", "Integer", 3),),
    "version": "2021-01-01",
    "metadata": plain({"owner": "me"}),
    "experiment_config": plain({"ExperimentName": "e", "TrialName": None}),
    "mlflow_config": plain({"MlflowResourceArn": "arn"}),
    "extra": plain({"Unknown": [1, {"a": None}]}),
    "display_name": "Ages",
    "description": "predicts ages",
    "role_arn": "arn:aws:iam::111122223333:role/r",
    "tags": plain([{"Key": "team", "Value": "a"}]),
    "parallelism": Parallelism(4),
    "request": plain({"ClientRequestToken": "t"}),
    "engine": EngineSettings(timeout=3600, tags=["sales"], concurrency=1),
    "schedules": (Schedule("nightly", "cron(0 4 * * ? *)", parameters={}, description="d"),),
    "event_triggers": (EventTrigger("created", {"source": ["aws.s3"]}, queue=QUEUE),),
}
NAMED = frozenset(("name", "steps", "connections", "key_order", "origin", "notes"))
"""Fields that every file has, and KeyOrder, origin and notes, which describe a file."""


def pipelines() -> dict[str, Pipeline]:
    found = {}
    for name, value in STEP.items():
        inside = name in ("conditions", "if_steps", "else_steps")
        made = (
            ConditionStep("Check", "Condition", **{name: value})
            if inside
            else Step("Work", "Processing", **{name: value})
        )
        before = () if name in ("if_steps", "else_steps") else (LEAF,)
        found[f"step {name}"] = Pipeline(name="p", steps=(*before, made))
    for name, value in PARAMETER.items():
        given = {"type": "Float"} | {name: value}
        one = Parameter("n", **given)
        found[f"parameter {name}"] = Pipeline(name="p", steps=(LEAF,), parameters=(one,))
    found["thirty parameters"] = Pipeline(name="p", steps=(LEAF,), parameters=PARAMETERS)
    for name, value in PIPELINE.items():
        found[f"pipeline {name}"] = Pipeline(name="p", steps=(LEAF,), **{name: value})
    return found


PIPELINES = pipelines()


def test_every_field_of_the_model_has_a_row() -> None:
    classes = ((ConditionStep, STEP), (Parameter, PARAMETER), (Pipeline, PIPELINE))
    for class_, rows in classes:
        known = {field.name for field in fields(class_)} - NAMED - {"type"}
        assert known == rows.keys() - {"type"}, class_


def check(back: Pipeline, pipeline: Pipeline, losses: Any) -> None:
    assert counted(losses) == ()
    text = sagebridge.write(back, "sagemaker").text
    assert same(text, sagebridge.write(pipeline, "sagemaker").text)
    assert same(write_envelope(back), write_envelope(pipeline))
    for name in ("parameters", "schedules", "event_triggers", "engine"):
        assert getattr(back, name) == getattr(pipeline, name)
    assert [step.engine for step in walk(back)] == [step.engine for step in walk(pipeline)]


@pytest.mark.parametrize("row", PIPELINES)
def test_flow_file_holds_every_field(row: str, tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    text, losses = sagebridge.write(PIPELINES[row], "prefect")
    file.write_text(text)
    check(sagebridge.read(file).pipeline, PIPELINES[row], losses)


@pytest.mark.airflow
def test_dag_file_holds_every_field(tmp_path: Path) -> None:
    from sagebridge.formats.airflow.reader import read_files

    files, losses = [], []
    for at, pipeline in enumerate(PIPELINES.values()):
        files.append(tmp_path / f"dag{at}.py")
        text, lost = sagebridge.write(pipeline, "airflow")
        losses.append(lost)
        files[-1].write_text(text)
    for (row, pipeline), outcome, lost in zip(
        PIPELINES.items(), read_files(files), losses, strict=True
    ):
        assert not isinstance(outcome, Exception), (row, outcome)
        check(outcome[0].pipeline, pipeline, lost)


@pytest.mark.parametrize("row", PIPELINES)
def test_definition_holds_every_field_or_reports_it(row: str, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    text, losses = sagebridge.write(PIPELINES[row], "sagemaker")
    file.write_text(text)
    back = sagebridge.read(file, name="p").pipeline
    assert same(sagebridge.write(back, "sagemaker").text, text)
    lost = write_envelope(PIPELINES[row]).keys() - {"PipelineName"}
    lost |= {name for one in PIPELINES[row].declared for name in one.limits}
    lost |= {"null" for one in PIPELINES[row].declared if one.nullable}
    lost |= {one.name for one in PIPELINES[row].schedules}
    lost |= {one.name for one in PIPELINES[row].event_triggers}
    assert lost == {name for loss in losses for name in lost if name in loss.what}


def test_rows_differ() -> None:
    """The rows would be empty checks if equality of definitions ignored differences."""
    one, other = PIPELINES["parameter default"], PIPELINES["parameter extra"]
    assert not same(
        sagebridge.write(one, "sagemaker").text, sagebridge.write(other, "sagemaker").text
    )
