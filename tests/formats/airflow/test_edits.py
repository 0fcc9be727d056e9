"""Edits of the generated abalone DAG, read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step

pytestmark = pytest.mark.airflow

WRITTEN = (Path(__file__).parents[3] / "dags" / "abalone.py").read_text()
TAIL = "\n    from airflow.sdk import TaskGroup\n    from sagebridge_operators.airflow import *\n"
MODEL = """
    {name} = ModelOperator(task_id="{task}", arguments={{"PrimaryContainer": {{"Image": "i"}}}})
"""


def with_changes(*changes: tuple[str, str]) -> str:
    text = WRITTEN
    for old, new in changes:
        assert old in text, f"the generated file has no {old!r}"
        text = text.replace(old, new)
    return text


def without_step(text: str, variable: str) -> str:
    """The file without the block of one step."""
    return re.sub(rf"^( *){variable} = (?:.*\n)*?\1\)\n", "", text, flags=re.MULTILINE)


EDITS = {
    "unchanged": WRITTEN,
    "a value": with_changes(('"num_round": "50"', '"num_round": "80"'), ("86400", "60 * 60")),
    "a renamed variable": with_changes(("abalone_train", "fitted"), ("abalone_process", "p")),
    "a removed step": without_step(WRITTEN, "abalone_transform"),
    "an added step": WRITTEN
    + TAIL
    + MODEL.format(name="extra", task="Extra")
    + "    abalone_process >> extra >> abalone_train\n",
    "set_upstream": WRITTEN
    + TAIL
    + MODEL.format(name="extra", task="Extra")
    + "    extra.set_upstream([abalone_mse_cond, abalone_eval])\n",
    "a loop": WRITTEN
    + TAIL
    + """
    for region in ("eu", "us"):
        ModelOperator(
            task_id=f"Model-{region}",
            arguments={
                "PrimaryContainer": {
                    "Image": f"{region}.example/xgboost",
                    "ModelDataUrl": abalone_train.properties.ModelArtifacts.S3ModelArtifacts,
                }
            },
        )
""",
    "a helper": with_changes(
        (
            "with DAG(",
            'def role(name):\n    return f"arn:aws:iam::444455556666:role/{name}"\n\nwith DAG(',
        ),
        (
            '"RoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone"',
            '"RoleArn": role("own")',
        ),
    ),
    "a group": WRITTEN
    + TAIL
    + '    with TaskGroup("late"):'
    + MODEL.format(name="grouped", task="Grouped").replace("\n    ", "\n        ")
    + "    abalone_eval >> grouped\n",
    "a string like a template": with_changes(
        ("Execution failed due to MSE >", "{{ ds }} {% raw %} failed: MSE >")
    ),
    "a schedule": with_changes(("schedule=None", 'schedule="0 6 * * *"')),
    "parameters": with_changes(
        ('Param(6.0, type="number")', 'Param(5, type="number", description="At most")'),
        (
            'Param("PendingManualApproval", type="string")',
            'Param("Approved", type="string", enum=["Approved", "Rejected"]), "Extra": True',
        ),
    ),
    "an unpacked constant": with_changes(
        ("with DAG(", 'COMMON = {"RoleArn": "arn:aws:iam::111122223333:role/own"}\n\nwith DAG('),
        ('"RoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone"', "**COMMON"),
    ),
    "a comprehension": with_changes(
        (
            '"ProfilerConfig": {"DisableProfiler": True},',
            """"Tags": [
                {"Key": key, "Value": abalone_process.properties.ProcessingOutputConfig.Outputs[
                    key
                ].S3Output.S3Uri}
                for key in ("train", "test")
            ],""",
        )
    ),
    "a renamed task id": with_changes(
        ('task_id="AbaloneEval"', 'task_id="Judge"'),
        ('"AbaloneEval", "EvaluationReport"', 'abalone_eval, "EvaluationReport"'),
    ),
    "a decorated function": with_changes(
        ("from airflow.sdk import DAG, Param", "from airflow.sdk import Param, dag"),
        ("with DAG(", "@dag("),
        ('tags=["sagebridge"],\n):', 'tags=["sagebridge"],\n)\ndef abalone(Rounds="50"):'),
        ('"num_round": "50"', '"num_round": Rounds'),
    )
    + "\n\nabalone()\n",
    "a chain": WRITTEN
    + TAIL
    + """
    from airflow.sdk import chain
    a, b, c, d = (
        ModelOperator(task_id=x, arguments={"PrimaryContainer": {"Image": x}}) for x in "abcd"
    )
    chain(abalone_eval, [a, b], [c, d])
""",
    "a subclass": WRITTEN
    + TAIL
    + """
    class Own(ModelOperator):
        def execute(self, context):
            return {}

    Own(task_id="Own", arguments={"PrimaryContainer": {"Image": "i"}}, region_name="eu-west-1")
""",
    "documentation": with_changes(
        (
            'task_id="AbaloneTrain",',
            'task_id="AbaloneTrain", doc_md="Fits.", task_display_name="Fit",',
        )
    ),
    "fail fast": with_changes(("schedule=None", "schedule=None, fail_fast=True")),
    "limits": with_changes(
        ("schedule=None", 'schedule=None, max_active_tasks=2, description="Ages"')
    ),
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReading]:
    folder = tmp_path_factory.mktemp("edits")
    files = {name: folder / f"{name.replace(' ', '_')}.py" for name in EDITS}
    for name, file in files.items():
        file.write_text(EDITS[name])
    found = {}
    for name, outcome in zip(files, read_files(list(files.values())), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (found[name],) = outcome
    return found


@pytest.fixture(scope="module")
def written(readings: dict[str, FileReading]) -> Pipeline:
    return readings["unchanged"].pipeline


def arguments(pipeline: Pipeline, step: str) -> Any:
    found = pipeline.step(step)
    assert found is not None
    return found.arguments


def names(steps: tuple[Step, ...] | Any) -> list[str]:
    return [step.name for step in steps or ()]


def test_unchanged_file(written: Pipeline, readings: dict[str, FileReading]) -> None:
    definition = Path(__file__).parents[3] / "pipelines" / "abalone" / "definition.json"
    assert written == sagebridge.read(definition).pipeline


@pytest.mark.parametrize("name", EDITS)
def test_losses(name: str, readings: dict[str, FileReading]) -> None:
    expected = {
        "a subclass": ["operator"],
        "fail fast": ["failure-handling"],
    }
    assert [loss.code for loss in readings[name].losses] == expected.get(name, [])


@pytest.mark.parametrize("name", EDITS)
def test_edited_dag_validates(name: str, readings: dict[str, FileReading]) -> None:
    text = sagebridge.write(readings[name].pipeline, "sagemaker").text
    assert [one for one in sagebridge.validate(text) if one.severity == "error"] == []


def test_edited_value(readings: dict[str, FileReading]) -> None:
    train = arguments(readings["a value"].pipeline, "AbaloneTrain")
    assert train["HyperParameters"]["num_round"] == "80"
    assert train["StoppingCondition"]["MaxRuntimeInSeconds"] == 3600


def test_renamed_variable(readings: dict[str, FileReading], written: Pipeline) -> None:
    assert readings["a renamed variable"].pipeline == written


def test_removed_step(readings: dict[str, FileReading], written: Pipeline) -> None:
    pipeline = readings["a removed step"].pipeline
    condition = pipeline.step("AbaloneMSECond")
    assert isinstance(condition, ConditionStep)
    assert names(condition.if_steps) == [
        "AbaloneRegisterModel-RegisterModel",
        "AbaloneCreateModel",
    ]
    assert len(graph(pipeline)) == len(graph(written)) - 1


def test_added_step(readings: dict[str, FileReading]) -> None:
    edges = graph(readings["an added step"].pipeline).edges
    assert edges["AbaloneProcess", "Extra"]["reasons"] == {"depends_on"}
    assert edges["Extra", "AbaloneTrain"]["reasons"] == {"depends_on"}
    assert edges["AbaloneProcess", "AbaloneTrain"]["reasons"] == {"data"}


def test_set_upstream(readings: dict[str, FileReading]) -> None:
    extra = readings["set_upstream"].pipeline.step("Extra")
    assert extra is not None
    assert extra.depends_on == ("AbaloneEval", "AbaloneMSECond")


def test_steps_from_a_loop(readings: dict[str, FileReading]) -> None:
    steps = readings["a loop"].pipeline.steps
    assert names(steps)[-2:] == ["Model-eu", "Model-us"]
    assert ("AbaloneTrain", "Model-us") in graph(readings["a loop"].pipeline).edges


def test_helper_function(readings: dict[str, FileReading]) -> None:
    process = arguments(readings["a helper"].pipeline, "AbaloneProcess")
    assert process["RoleArn"] == "arn:aws:iam::444455556666:role/own"


def test_task_group(readings: dict[str, FileReading]) -> None:
    grouped = readings["a group"].pipeline.step("Grouped")
    assert grouped is not None
    assert grouped.depends_on == ("AbaloneEval",)


def test_string_like_a_template_is_literal(readings: dict[str, FileReading]) -> None:
    message = arguments(readings["a string like a template"].pipeline, "AbaloneMSEFail")[
        "ErrorMessage"
    ]
    assert message.values[0] == "{{ ds }} {% raw %} failed: MSE >"


def test_added_schedule(readings: dict[str, FileReading]) -> None:
    (schedule,) = readings["a schedule"].pipeline.schedules
    assert schedule.expression == "cron(0 6 * * ? *)"


def test_edited_parameters(readings: dict[str, FileReading]) -> None:
    found = {one.name: one for one in readings["parameters"].pipeline.declared}
    assert (found["MseThreshold"].default, found["MseThreshold"].description) == (5, "At most")
    assert found["ModelApprovalStatus"].enum_values == ("Approved", "Rejected")
    assert (found["Extra"].type, found["Extra"].default) == ("Boolean", True)


def test_unpacked_constant(readings: dict[str, FileReading]) -> None:
    train = arguments(readings["an unpacked constant"].pipeline, "AbaloneTrain")
    assert train["RoleArn"] == "arn:aws:iam::111122223333:role/own"


def test_comprehension(readings: dict[str, FileReading]) -> None:
    tags = arguments(readings["a comprehension"].pipeline, "AbaloneTrain")["Tags"]
    assert [tag["Key"] for tag in tags] == ["train", "test"]
    path = "Steps.AbaloneProcess.ProcessingOutputConfig.Outputs['test'].S3Output.S3Uri"
    assert tags[1]["Value"].text == path


def test_renamed_task_id(readings: dict[str, FileReading]) -> None:
    edges = graph(readings["a renamed task id"].pipeline).edges
    assert ("Judge", "AbaloneMSECond") in edges
    assert ("Judge", "AbaloneRegisterModel-RegisterModel") in edges


def test_dag_decorator(readings: dict[str, FileReading]) -> None:
    pipeline = readings["a decorated function"].pipeline
    (rounds,) = [one for one in pipeline.declared if one.name == "Rounds"]
    assert (rounds.type, rounds.default) == ("String", "50")
    used = arguments(pipeline, "AbaloneTrain")["HyperParameters"]["num_round"]
    assert used.text == "Parameters.Rounds"


def test_chain_sets_dependencies(readings: dict[str, FileReading]) -> None:
    found = {name: readings["a chain"].pipeline.step(name) for name in "abcd"}
    assert {name: step.depends_on for name, step in found.items() if step} == {
        "a": ("AbaloneEval",),
        "b": ("AbaloneEval",),
        "c": ("a",),
        "d": ("b",),
    }


def test_doc_md_and_display_name(readings: dict[str, FileReading]) -> None:
    train = readings["documentation"].pipeline.step("AbaloneTrain")
    assert train is not None
    assert (train.description, train.display_name) == ("Fits.", "Fit")


def test_fail_fast_is_a_loss(readings: dict[str, FileReading]) -> None:
    (loss,) = readings["fail fast"].losses
    assert (loss.code, loss.severity) == ("failure-handling", "changed")


def test_parallelism_and_description(readings: dict[str, FileReading]) -> None:
    pipeline = readings["limits"].pipeline
    assert pipeline.parallelism.max_parallel_execution_steps == 2  # type: ignore[union-attr]
    assert pipeline.description == "Ages"
