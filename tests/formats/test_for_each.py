"""ForEach steps: rules, odd definitions, edited and hand-written files."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.cli.pipeline_tree import as_json
from sagebridge.errors import ModelTypeError
from sagebridge.model.expressions import plain
from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.graph import edges, hidden_failures
from sagebridge.model.pipeline import Pipeline, Step
from tests.definition import LAMBDA

DEFINITION = Path(__file__).parents[1] / "definitions" / "for-each.json"
BODY = "Steps/1/Arguments/ForEachBody"
MISSING = object()
LISTED = (
    "Steps.Fan.Selected.OutputParameters['No']",
    "Steps.Fan.IterationOutputs[0].Score.OutputParameters['No']",
)


def fan(**arguments: Any) -> dict[str, Any]:
    given = {"IterableItems": ["a"], "MaxConcurrency": 1, "ForEachBody": [{"Name": "B", **LAMBDA}]}
    return {"Name": "Fan", "Type": "ForEach", "Arguments": {**given, **arguments}}


def changed(place: str, value: Any) -> dict[str, Any]:
    definition: Any = json.loads(DEFINITION.read_text())
    *names, last = [int(one) if one.isdigit() else one for one in place.split("/")]
    holder = definition
    for name in names:
        holder = holder[name]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = deepcopy(value)
    return definition  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("place", "value", "code", "pointer"),
    [
        ("IterableItems", [], "for-each-items", "IterableItems"),
        ("IterableItems", ["a"] * 101, "for-each-items", "IterableItems"),
        ("IterableItems", [None], "wrong-type", "IterableItems/0"),
        ("IterableItems", ["a", ["b"]], "wrong-type", "IterableItems/1"),
        ("IterableItems", "[1, 2]", "wrong-type", "IterableItems"),
        ("IterableItems", MISSING, "missing-member", ""),
        ("IterableItems", {"Get": "Parameters.Number"}, "for-each-items", "IterableItems"),
        ("MaxConcurrency", 0, "for-each-limit", "MaxConcurrency"),
        ("MaxConcurrency", 51, "for-each-limit", "MaxConcurrency"),
        ("MaxConcurrency", 2.0, "for-each-limit", "MaxConcurrency"),
        ("MaxConcurrency", True, "for-each-limit", "MaxConcurrency"),
        ("MaxConcurrency", MISSING, "missing-member", ""),
        ("Selector/Pick", "Max", "for-each-selector", "Selector/Pick"),
        ("Selector/Field", 3, "for-each-selector", "Selector/Field"),
        (
            "Selector/Field",
            {"Get": "IterationOutput.Nope.X"},
            "unknown-step",
            "Selector/Field/Get",
        ),
        (
            "Selector/Field",
            {"Get": "IterationOutput.Score"},
            "expression-form",
            "Selector/Field/Get",
        ),
        ("ForEachBody/1", 7, "wrong-type", "ForEachBody/1"),
        ("ForEachBody/1/Name", "Score", "duplicate-step", "ForEachBody/1/Name"),
        ("Odd", 1, "unknown-member", "Odd"),
    ],
)
def test_arguments_are_checked(place: str, value: Any, code: str, pointer: str) -> None:
    definition = changed(f"Steps/1/Arguments/{place}", value)
    definition["Parameters"].append({"Name": "Number", "Type": "Float", "DefaultValue": 1.5})
    found = sagebridge.validate(definition)
    wanted = "/".join(filter(None, ("/Steps/1/Arguments", pointer)))
    assert (code, wanted) in [(one.code, one.pointer) for one in found]


@pytest.mark.parametrize("type_", ["Condition", "Fail", "ForEach"])
def test_type_that_a_body_cannot_contain(type_: str) -> None:
    found = sagebridge.validate(changed(f"{BODY}/1/Type", type_))
    assert ("for-each-body", f"/{BODY}/1/Type") in [(one.code, one.pointer) for one in found]


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        ("Steps/2/Arguments/auc", "Steps.Score.OutputParameters['Auc']", "body-step"),
        ("Steps/2/Arguments/auc", "Steps.Fan.IterationOutputs.Score.X", "expression-form"),
        ("Steps/2/Arguments/auc", "Steps.Fan.IterationOutputs[0]", "expression-form"),
        ("Steps/2/Arguments/auc", "Steps.Fan.IterationOutputs[0].Nope.X", "unknown-step"),
        ("Steps/2/Arguments/auc", "Steps.Fan.Sttus", "unknown-output"),
        ("Steps/2/Arguments/auc", "Steps.Fan.Status.x", "expression-form"),
        ("Steps/2/Arguments/auc", "ForEach.CurrentItem", "outside-for-each"),
        ("Steps/2/Arguments/auc", "IterationOutput.Score.X", "outside-for-each"),
        (f"{BODY}/0/Arguments/region", "ForEach.Item", "unknown-variable"),
        (f"{BODY}/0/Arguments/region", "Steps.Fan.Status", "dependency-cycle"),
        *(("Steps/2/Arguments/auc", text, "unknown-output") for text in LISTED),
    ],
)
def test_references_are_checked(place: str, value: str, code: str) -> None:
    found = sagebridge.validate(changed(place, {"Get": value}))
    assert [(one.code, one.pointer) for one in found] == [(code, f"/{place}/Get")]


def test_items_of_code_are_any_json() -> None:
    body = [{"Name": "B", "Type": "sagebridge.ShellCommand", "Arguments": {"command": "true"}}]
    for items in ([], [{"a": [None]}] * 101):
        steps = [fan(IterableItems=items, ForEachBody=body)]
        found = sagebridge.validate({"Version": "2020-12-01", "Steps": steps})
        assert not {"for-each-items", "wrong-type"} & {one.code for one in found}


def test_names_of_iterations_are_taken() -> None:
    found = sagebridge.validate(changed("Steps/2/Name", "Report-12"))
    assert [one.code for one in found] == ["iteration-name"]
    assert sagebridge.validate(changed("Steps/2/Name", "Report-x")) == ()


def test_only_steps_of_the_body_depend_on_one() -> None:
    outside = sagebridge.validate(changed("Steps/2/DependsOn", ["Score"]))
    assert [(one.code, one.pointer) for one in outside] == [("body-step", "/Steps/2/DependsOn/0")]
    inside = changed(f"{BODY}/1/DependsOn", ["Score", "Prepare"])
    assert sagebridge.validate(inside) == ()


def test_selected_needs_a_selector() -> None:
    (found,) = sagebridge.validate(changed("Steps/1/Arguments/Selector", MISSING))
    assert (found.code, found.pointer) == ("unknown-output", "/Steps/2/Arguments/auc/Get")


def test_body_waits_through_its_for_each() -> None:
    definition = {"Steps": [fan(ForEachBody=[{"Name": "B", **LAMBDA, "DependsOn": ["A"]}])]}
    definition["Steps"].append({"Name": "A", **LAMBDA, "DependsOn": ["Fan"]})
    assert "dependency-cycle" in [one.code for one in sagebridge.validate(definition)]
    pipeline = sagebridge.read(DEFINITION).pipeline
    assert set(edges(pipeline.steps)) >= {
        ("Prepare", "Fan", "data"),
        ("Fan", "Score", "body"),
        ("Score", "Report", "data"),
    }
    assert body_owners(pipeline) == {"Score": "Fan", "Report": "Fan"}
    assert hidden_failures(pipeline) == ()


def test_model_needs_its_own_class() -> None:
    with pytest.raises(ModelTypeError, match="build the ForEach step 'A' with ForEachStep"):
        Pipeline(steps=[Step("A", "ForEach")])
    with pytest.raises(ModelTypeError, match="a ForEachStep has the type 'ForEach'"):
        ForEachStep("A", "Training")


ODD: list[Any] = [
    {},
    [],
    None,
    {"ForEachBody": 3, "Selector": [1], "MaxConcurrency": None},
    {"Selector": {"Pick": 1, "X": {"Get": "ForEach.CurrentItem"}}, "ForEachBody": []},
    {"IterableItems": {"Get": "Nope"}, "ForEachBody": None},
    {
        "ForEachBody": [
            fan(),
            {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}},
            {
                "Name": "If",
                "Type": "Condition",
                "Arguments": {"Conditions": [], "IfSteps": [{"Name": "In", **LAMBDA}]},
            },
        ]
    },
]


@pytest.mark.airflow
@pytest.mark.parametrize("target", ["airflow", "prefect"])
def test_odd_definitions_come_back(target: str, tmp_path: Path) -> None:
    steps: list[Any] = [{"Name": "A", **LAMBDA}]
    for number, arguments in enumerate(ODD):
        steps.append({"Name": f"Each{number}", "Type": "ForEach"})
        if arguments is not None:
            steps[-1]["Arguments"] = arguments
    # Steps that refer to a step of a body are invalid, but they are kept, too.
    steps.append({"Name": "Y", **LAMBDA, "DependsOn": ["In"]})
    steps.append({"Name": "Z", **LAMBDA, "Arguments": {"x": {"Get": "Steps.B.X"}}})
    definition = {"Version": "2020-12-01", "Parameters": [], "Steps": steps}
    (tmp_path / "odd.py").write_text(sagebridge.translate(definition, target).text)
    pipeline = sagebridge.read(str(tmp_path / "odd.py")).pipeline
    assert json.loads(sagebridge.write(pipeline, "sagemaker").text) == definition


def test_references_in_odd_places_are_shown() -> None:
    number = {"Get": "Parameters.Number"}
    step = fan(MaxConcurrency=number, Selector={"Pick": number, "Field": 3})
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": [step]}).pipeline
    (shown,) = as_json(pipeline, {})["steps"]
    assert "Parameters.Number at a time" in json.dumps(shown)


BY_HAND = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task, task_group

with DAG("by_hand", schedule=None, max_active_tasks=40):

    @task
    def double(x: int, y: int = 1) -> int:
        return x * y

    @task
    def numbers() -> list:
        return [1, 2]

    @task_group
    def each(region, size):
        first = double.override(task_id="first")(x=size)
        BashOperator(task_id="second", bash_command="echo", env={"R": region}) << first

    scalars = double.override(max_active_tis_per_dagrun=3).partial(y=3).expand(x=[1, 2])
    double.override(task_id="of_task").expand(x=numbers())
    double.override(task_id="rows").expand_kwargs([{"x": 1, "y": 2}, {"x": 3, "y": 4}])
    each.expand(region=["eu", "us"], size=[5]) >> BashOperator(task_id="end", bash_command="true")
    double.override(task_id="nested").expand(x=scalars)
    double.override(task_id="total")(x=scalars)
"""


@pytest.mark.airflow
def test_mapped_tasks_by_hand_become_for_each(tmp_path: Path) -> None:
    (tmp_path / "by_hand.py").write_text(BY_HAND)
    pipeline, losses = sagebridge.read(str(tmp_path / "by_hand.py"))
    loops = {one.name: one for one in pipeline.steps if isinstance(one, ForEachStep)}
    assert {name: one.items for name, one in loops.items()} == {
        "double": (1, 2),
        "of_task": sagebridge.get("Steps.numbers.return_value"),
        "rows": plain(({"x": 1, "y": 2}, {"x": 3, "y": 4})),
        "each": ("eu", "us"),
        "nested": sagebridge.get("Steps.double.return_value"),
    }
    assert [one.max_concurrency for one in loops.values()] == [3, 40, 40, 40, 40]
    assert [one.name for one in loops["each"].body or ()] == ["first", "second"]
    (item,) = loops["rows"].body or ()
    assert item.arguments["kwargs"] == {
        "x": sagebridge.get("ForEach.CurrentItem.x"),
        "y": sagebridge.get("ForEach.CurrentItem.y"),
    }
    end = pipeline.step("end")
    assert end is not None
    assert end.depends_on == ("each",)
    total = pipeline.step("total")
    assert total is not None
    assert total.arguments["kwargs"] == {"x": sagebridge.get("Steps.double.return_value")}
    assert [one for one in losses if one.severity == "dropped"] == []
