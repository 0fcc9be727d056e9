"""Dependencies with triggers: built by hand, in definitions, DAG files, flow files and checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge import Pipeline, Step, ended, failed, stopped
from sagebridge.authoring.definition_writer import definition
from sagebridge.authoring.runnable import why_pipeline_not_runnable
from sagebridge.model.graph import graph

ITEMS: list[Any] = [
    "A",
    {"Step": "A", "Trigger": "Completed"},
    {"Step": "A", "Trigger": "Failed"},
    {"Step": "A", "Trigger": "Stopped"},
    {"Step": "A", "Trigger": "Any"},
    {"Step": "A"},
    {"Step": "A", "Trigger": None},
    {"Step": "A", "Trigger": "Sometimes"},
    {"Trigger": "Failed", "Step": "A", "More": [1.0]},
]


def pipeline(*items: Any, **more: Any) -> dict[str, Any]:
    first = {"Name": "A", "Type": "Training", "Arguments": {}}
    last = {**first, "Name": "B", "DependsOn": list(items), **more}
    return {"Version": "2020-12-01", "Steps": [first, last]}


def findings(*items: Any, **more: Any) -> list[tuple[str, str]]:
    found = sagebridge.validate(pipeline(*items, **more))
    return [
        (one.code, one.severity) for one in found if one.pointer.startswith("/Steps/1/DependsOn")
    ]


def test_helpers_write_what_a_definition_has() -> None:
    first = Step("A", "Lambda", {})
    last = Step("B", "Lambda", {}, [failed(first), stopped("A"), ended(first), first])

    assert definition(Pipeline("p", [first, last]))["Steps"][1]["DependsOn"] == [
        {"Step": "A", "Trigger": "Failed"},
        {"Step": "A", "Trigger": "Stopped"},
        {"Step": "A", "Trigger": "Any"},
        "A",
    ]


@pytest.mark.parametrize("form", ["sagemaker", "airflow", "prefect"])
def test_items_come_back(form: str, tmp_path: Path) -> None:
    steps = [{**pipeline(item)["Steps"][1], "Name": f"B{at}"} for at, item in enumerate(ITEMS)]
    given = {**pipeline(), "Steps": [pipeline()["Steps"][0], *steps]}
    file = tmp_path / ("p.json" if form == "sagemaker" else "p.py")
    file.write_text(sagebridge.translate(given, form, name="p").text)
    back = sagebridge.translate(str(file), "sagemaker", form).text

    assert [step["DependsOn"] for step in json.loads(back)["Steps"][1:]] == [[one] for one in ITEMS]


@pytest.mark.parametrize("form", ["airflow", "prefect"])
def test_files_use_the_helpers(form: str) -> None:
    items = [{"Step": "A", "Trigger": trigger} for trigger in ("Failed", "Stopped", "Any")]
    text = sagebridge.translate(pipeline(*items), form, name="p").text

    assert "depends_on=[failed(a), stopped(a), ended(a)]" in text


def test_edges_have_triggers() -> None:
    read = sagebridge.read(pipeline("A", {"Step": "A", "Trigger": "Any"})).pipeline

    assert graph(read).edges["A", "B"]["triggers"] == {"Completed", "Any"}


def test_known_triggers_are_valid_and_run() -> None:
    for trigger in ("Completed", "Failed", "Stopped", "Any"):
        item = {"Step": "A", "Trigger": trigger}
        assert findings(item) == []
        assert why_pipeline_not_runnable(sagebridge.read(pipeline(item)).pipeline) is None


def test_unknown_triggers_are_reported_and_do_not_run() -> None:
    item = {"Step": "A", "Trigger": "Succeeded"}
    (found,) = (one for one in sagebridge.validate(pipeline(item)) if "DependsOn" in one.pointer)

    assert (found.code, found.severity) == ("dependency-trigger", "warning")
    assert "expected one of Completed, Failed, Stopped, Any" in found.message
    why = why_pipeline_not_runnable(sagebridge.read(pipeline(item)).pipeline)
    assert why == "steps with the unknown dependency trigger 'Succeeded' (step 'B')"
    codes = {loss.code for loss in sagebridge.translate(pipeline(item), "airflow").losses}
    assert codes == {"dependency-trigger"}


def test_conflicting_triggers_are_an_error() -> None:
    item = {"Step": "A", "Trigger": "Failed"}

    assert findings("A", item) == [("conflicting-triggers", "error")]
    assert findings(item, item) == []


def test_a_failure_handler_cannot_use_the_outputs_of_the_failed_step() -> None:
    item = {"Step": "A", "Trigger": "Failed"}
    uses = {"x": {"Get": "Steps.A.ModelArtifacts.S3ModelArtifacts"}}

    assert ("never-runs", "warning") in findings(item, Arguments=uses)
