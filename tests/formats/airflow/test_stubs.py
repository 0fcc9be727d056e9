"""Tasks that are dropped: a stub takes the place of each, in every format."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.errors import ScheduleError, TranslationError
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import StubStep
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.schedules import Schedule
from tests.formats.airflow.conftest import HEAD, Read

pytestmark = pytest.mark.airflow

DAG_FILE = (
    HEAD
    + """
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.sdk import ObjectStoragePath
from sagebridge_operators.airflow import ConditionOperator, ModelOperator, equals, parameter


def fetch(key):
    # reads with Airflow
    return ObjectStoragePath(key).name


@task(trigger_rule="all_skipped")
def page():
    print("failed")


with DAG("nightly", schedule=None, params={"Stage": "dev"}):
    arrived = SqlSensor(task_id="arrived", conn_id="db", sql="SELECT 1")
    fetched = PythonOperator(task_id="fetched", python_callable=fetch, op_args=["k"])
    a = SageMakerModelOperator(
        task_id="A",
        config={
            "ModelName": "m",
            "PrimaryContainer": {"Image": "{{ ti.xcom_pull('fetched')['image'] }}"},
        },
    )
    told = EmailOperator(
        task_id="told",
        to="reports",
        subject="{{ ds }}",
        html_content="\\n# fmt: off\\n\\"\\"\\"'{% raw %}",
    )
    each = BashOperator.partial(task_id="each").expand(env=[{"a": "1"}, {}])
    b = ModelOperator(task_id="B", arguments={"PrimaryContainer": {"Image": "i"}})
    check = ConditionOperator(
        task_id="check",
        conditions=[equals(parameter("Stage"), "prod")],
        if_steps=[b],
        else_steps=[],
    )
    arrived >> fetched >> a >> told >> each >> check
    a >> page()
"""
)
DROPPED = {
    "arrived": "SqlSensor",
    "fetched": "PythonOperator",
    "told": "EmailOperator",
    "each": "BashOperator",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stubs")


@pytest.fixture(scope="module")
def reading(folder: Path) -> FileReading:
    file = folder / "nightly.py"
    file.write_text(DAG_FILE)
    return dag_in(file)


def dag_in(file: Path) -> FileReading:
    (outcome,) = read_files([file])
    assert not isinstance(outcome, Exception), outcome
    (dag,) = outcome
    return dag


def stubs(pipeline: Pipeline) -> dict[str, Any]:
    return {step.name: step.arguments for step in walk(pipeline) if isinstance(step, StubStep)}


def test_dropped_tasks_leave_stubs_at_their_place(reading: FileReading) -> None:
    found = stubs(reading.pipeline)
    assert found.keys() == DROPPED.keys()
    for name, kind in DROPPED.items():
        assert kind in found[name]["reason"]
        line = int(found[name]["dropped_from"].removeprefix("nightly.py:"))
        assert name in DAG_FILE.splitlines()[line - 1]
    assert sorted(graph(reading.pipeline).edges) == [
        ("A", "page"),
        ("A", "told"),
        ("arrived", "fetched"),
        ("check", "B"),
        ("each", "check"),
        ("fetched", "A"),
        ("told", "each"),
    ]


def test_stub_quotes_the_source_of_its_task(reading: FileReading) -> None:
    found = stubs(reading.pipeline)
    assert found["fetched"]["source"] == (
        "def fetch(key):",
        "    # reads with Airflow",
        "    return ObjectStoragePath(key).name",
    )
    assert "".join(found["told"]["source"]).startswith("told = EmailOperator(")
    assert "reports" in "".join(found["told"]["source"])


def test_task_that_runs_after_failures_only_has_no_fail_step(reading: FileReading) -> None:
    text, losses = sagebridge.write(reading.pipeline, "sagemaker")
    (lost,) = [loss for loss in losses if loss.code == "trigger-rule"]
    assert (lost.severity, lost.step) == ("dropped", "page")
    assert "page" not in [step["Name"] for step in json.loads(text)["Steps"]]


@pytest.mark.parametrize("target", ["airflow", "prefect"])
def test_written_stubs_come_back(reading: FileReading, target: str, folder: Path) -> None:
    file = folder / f"again_{target}.py"
    file.write_text(sagebridge.write(reading.pipeline, target, losses=reading.losses).text)
    again = sagebridge.read(file)
    assert stubs(again.pipeline) == stubs(reading.pipeline)
    assert graph(again.pipeline).edges == graph(reading.pipeline).edges
    reported = [loss for loss in again.losses if loss.code == "stub"]
    assert {loss.step for loss in reported} == DROPPED.keys()
    assert {loss.severity for loss in reported} == {"dropped"}
    assert sagebridge.write(again.pipeline, target).text == (
        sagebridge.write(reading.pipeline, target).text.replace(
            "from an Airflow DAG", f"from {again.pipeline.origin}"
        )
    )


@pytest.mark.parametrize("target", ["airflow", "prefect"])
def test_each_loss_has_a_comment_at_its_step(reading: FileReading, target: str) -> None:
    text, losses = sagebridge.write(reading.pipeline, target, losses=reading.losses)
    steps = [step.name for step in walk(reading.pipeline)]
    lines = text.splitlines()
    comments = [at for at, line in enumerate(lines) if line.lstrip().startswith("# sagebridge: ")]
    assert len(comments) == len({*reading.losses, *losses})
    for loss in reading.losses:
        (at,) = [
            at for at in comments if f": {loss.code}: " in lines[at] and loss.what in lines[at]
        ]
        after = next(line for line in lines[at:] if not line.lstrip().startswith("#"))
        if loss.step in DROPPED:
            assert "stub" in after.lower()
        elif loss.step in steps:
            assert f"{loss.step.lower()} = " in after.lower()
        else:
            assert after.startswith(("with DAG(", "@flow("))
    ast.parse(text)


def test_definition_has_fail_steps_in_the_place_of_stubs(reading: FileReading) -> None:
    text, _ = sagebridge.write(reading.pipeline, "sagemaker")
    steps = {step["Name"]: step for step in json.loads(text)["Steps"]}
    for name, kind in DROPPED.items():
        assert steps[name]["Type"] == "Fail"
        message = steps[name]["Arguments"]["ErrorMessage"]
        assert kind in message
        assert "nightly.py:" in message
    assert steps["told"]["DependsOn"] == ["A"]
    assert [one.code for one in sagebridge.validate(text) if one.severity == "error"] == []


@pytest.mark.parametrize("target", ["airflow", "prefect", "sagemaker"])
def test_without_stubs_the_neighbours_are_connected(
    reading: FileReading, target: str, folder: Path
) -> None:
    written = sagebridge.write(reading.pipeline, target, losses=reading.losses, stubs=False)
    file = folder / f"bare_{target}.{'json' if target == 'sagemaker' else 'py'}"
    file.write_text(written.text)
    found = sagebridge.read(file).pipeline
    page = [] if target == "sagemaker" else [("A", "page")]
    assert sorted(graph(found).edges) == [("A", "check"), *page, ("check", "B")]
    (asked,) = [loss for loss in written.losses if loss.code == "asked-value"]
    assert asked.severity == "changed"
    assert "fetched_image" in [one.name for one in found.declared]


def test_schedule_without_the_result_of_a_dropped_task_is_rejected(reading: FileReading) -> None:
    daily = Schedule("daily", "cron(0 4 * * ? *)")
    pipeline = replace(reading.pipeline, schedules=(daily,))
    assert sagebridge.write(pipeline, "airflow").text
    with pytest.raises(ScheduleError, match="'fetched_image' has no default and is not set"):
        sagebridge.write(pipeline, "airflow", stubs=False)


def test_dag_of_dropped_tasks_only_is_an_error(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(HEAD + "with DAG('d'):\n    BashOperator(task_id='t', bash_command='x.sh')\n")
    with pytest.raises(TranslationError, match="no-steps"):
        sagebridge.translate(file, "airflow")
