"""Definitions come back from DAG files as the same JSON."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings

import sagebridge
from sagebridge import Schedule
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.authoring.json_document import MAX_CONDITIONS
from sagebridge.errors import TranslationError
from sagebridge.formats.airflow.writer import write
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import same
from tests import strategies
from tests.formats.prefect.test_nesting import in_branches
from tests.generated import check_clean

if TYPE_CHECKING:
    from airflow.sdk import DAG

pytestmark = pytest.mark.airflow

WORDS = (
    "0123",
    "true",
    "1e5",
    "{{ x }}",
    "{% raw %}",
    "'''",
    '"""',
    "\\N{BULLET}",
    "a\nb\r\n\tc",
    "\ud800",
    "${X}",
    "# sagebridge: no",
    "é\u2028",
    "",
)
NAMES = (
    "class",
    "a-b",
    "a_b",
    "A-b",
    "a.b",
    "join",
    "print",
    "1st",
    "-",
    "_",
    "x" * 64,
    "DAG",
    "execution",
)


def live(text: str) -> DAG:
    """The one DAG of a DAG file."""
    from airflow.sdk import DAG

    from sagebridge_operators.airflow import StepOperator

    names: dict[str, Any] = {}
    exec(compile(text, "generated.py", "exec"), names)
    found = {id(n.dag): n.dag for n in names.values() if isinstance(n, StepOperator)}
    (dag,) = found.values()
    assert isinstance(dag, DAG)
    return dag


def test_dag_file_comes_back(definition: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    text, losses = write(pipeline)
    assert same(to_json(pipeline_of(live(text))), json.loads(definition.read_text()))
    known = sagebridge.validate(definition)
    if not any(f.code.startswith(("unknown", "dependency-trigger")) for f in known):
        assert {loss.code for loss in losses} <= {"callback-answer"}  # of Callback steps


def test_dag_file_is_deterministic_and_clean(definition: Path, tmp_path: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    text = write(pipeline)[0]
    assert text == write(pipeline)[0]
    check_clean(text, tmp_path)


def processing(name: str, text: str, **more: Any) -> dict[str, Any]:
    arguments = {"Environment": {text: text}, "AppSpecification": {"ContainerArguments": [text]}}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}


@pytest.mark.parametrize("word", WORDS)
def test_strings_are_not_code(word: str) -> None:
    raw = {
        "Version": "2020-12-01",
        "Metadata": {word: word},
        "Parameters": [
            {"Name": "P", "Type": "String", "DefaultValue": word, "Description": word},
            {"Name": "Q", "EnumValues": [word, "x"], "DefaultValue": word},
        ],
        "Steps": [
            processing("A", word, Description=word, DisplayName=word),
            {"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": word}},
            {
                "Name": "T",
                "Type": word or "x",
                "Arguments": {word: {"Std:Join": {"Values": [word]}}},
            },
        ],
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    assert same(to_json(pipeline_of(live(text))), raw)
    for line in text.splitlines():
        assert not line.lstrip().startswith("#") or "sagebridge: " in line
    strings = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]
    assert word in strings


def test_odd_step_names_get_their_own_variables() -> None:
    uses = {"Get": "Steps.a-b.ProcessingJobName"}
    steps: list[dict[str, Any]] = [processing(name, "x") for name in NAMES]
    steps[-1]["Arguments"]["Uses"] = uses
    raw = {"Version": "2020-12-01", "Steps": steps}
    dag = live(write(sagebridge.read(raw).pipeline)[0])
    assert same(to_json(pipeline_of(dag)), raw)
    assert set(dag.task_ids) == set(NAMES)
    assert dag.get_task("execution").upstream_task_ids == {"a-b"}


def test_steps_keep_the_order_of_the_definition() -> None:
    late = processing("Late", "x")
    late["Arguments"]["Uses"] = {"Get": "Steps.Early.ProcessingJobName"}
    raw = {"Version": "2020-12-01", "Steps": [late, processing("Early", "x")]}
    text = write(sagebridge.read(raw).pipeline)[0]
    assert text.index("early =") < text.index("late =")
    assert "early.properties.ProcessingJobName" in text
    assert same(to_json(pipeline_of(live(text))), raw)


def test_condition_comes_before_its_branches() -> None:
    raw = in_branches(processing("Innermost", "x"), 1)
    text = write(sagebridge.read(raw, name="one").pipeline)[0]
    variables = re.findall(r"^ *(\w+) = |with (\w+\.\w+)\(\)", text, re.MULTILINE)
    assert [one or other for one, other in variables] == [
        "c1",
        "c1.met",
        "before1",
        "innermost",
        "after1",
        "c1.unmet",
        "other1",
        "last",
    ]


@pytest.mark.parametrize("depth", [8, 9, 20, MAX_CONDITIONS])
def test_deep_conditions_come_back(depth: int, tmp_path: Path) -> None:
    raw = in_branches(processing("Innermost", "x"), depth)
    text = write(sagebridge.read(raw, name="deep").pipeline)[0]
    check_clean(text, tmp_path)
    assert same(to_json(pipeline_of(live(text))), raw)


def test_unknown_parts_are_losses_with_comments() -> None:
    raw = {"Version": "2020-12-01", "Steps": [{"Name": "Q", "Type": "Athena", "Arguments": {}}]}
    text, losses = write(sagebridge.read(raw).pipeline)
    assert [(loss.code, loss.place) for loss in losses] == [("unknown-step-type", "/Steps/0/Type")]
    assert "    # sagebridge: unknown-step-type: " in text
    assert same(to_json(pipeline_of(live(text))), raw)


def test_request_fields_are_kept() -> None:
    request = {
        "PipelineName": "a pipeline: mine",
        "PipelineDescription": "what it does",
        "PipelineDisplayName": "Mine",
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        "Tags": [{"Key": "team", "Value": "{{ x }}"}],
        "ParallelismConfiguration": {"MaxParallelExecutionSteps": 3},
        "PipelineDefinition": json.dumps(
            {"Version": "2020-12-01", "Steps": [processing("A", "x")]}
        ),
    }
    pipeline = sagebridge.read(request).pipeline
    dag = live(write(pipeline)[0])
    back = pipeline_of(dag)
    assert dag.dag_id == "a_pipeline__mine"
    assert dag.max_active_tasks == 3
    for field in ("name", "description", "display_name", "role_arn", "tags", "parallelism"):
        assert getattr(back, field) == getattr(pipeline, field)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.definitions())
def test_any_pipeline_comes_back(raw: dict[str, Any]) -> None:
    pipeline = read_distinct(raw)
    assert same(to_json(pipeline_of(live(write(pipeline)[0]))), raw)


def read_distinct(raw: dict[str, Any]) -> Pipeline:
    """Read a random definition. Rejected by Hypothesis if two names are equal, or in a cycle."""
    try:
        pipeline = sagebridge.read(raw).pipeline
    except TranslationError:
        reject()
    assume(distinct(pipeline))
    return pipeline


def distinct(pipeline: Pipeline) -> bool:
    """Whether all steps and all parameters have different names."""
    steps = Counter(step.name for step in walk(pipeline))
    parameters = Counter(parameter.name for parameter in pipeline.declared)
    return bool(steps) and max((*steps.values(), *parameters.values())) == 1


def test_airflow_imports_the_dag(definition: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = live(write(sagebridge.read(definition).pipeline)[0])
    served = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert set(served.task_dict) == set(dag.task_ids)


def test_flexible_window_of_a_schedule_is_reported() -> None:
    schedule = Schedule("nightly", "cron(0 4 * * ? *)", flexible_minutes=15)
    text, (loss,) = write(Pipeline("P", schedules=[schedule]))

    assert "flexible_minutes=15" in text  # for the way back
    assert (loss.code, loss.severity) == ("schedule", "info")
    assert loss.place == "/Schedules/0/FlexibleTimeWindow"
