"""Conditions nested deeper than Python nests ``with`` blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.authoring.json_document import MAX_CONDITIONS, MAX_DEPTH
from sagebridge.errors import PythonFileError, SourceError
from sagebridge.formats.prefect.reader import read
from sagebridge.formats.prefect.writer import write
from sagebridge.model.conditions import less_than
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import EMPTY, same
from tests.generated import check_clean

DEPTHS = [8, 9, 20, 21, 31, MAX_CONDITIONS]


def processing(name: str, value: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "Arguments": {"Environment": value}}


def nested_conditions(depth: int) -> Pipeline:
    """Conditions alone, made in Python, so that no limit of reading applies."""
    step = Step("Innermost", "Processing", arguments=EMPTY)
    for number in range(depth, 0, -1):
        step = ConditionStep(
            f"C{number}",
            "Condition",
            arguments=EMPTY,
            conditions=(less_than(1, number),),
            if_steps=(step,),
            else_steps=(),
        )
    return Pipeline(steps=(step,), name="deep")


def in_branches(step: dict[str, Any], depth: int) -> dict[str, Any]:
    """A definition with the step inside ``depth`` conditions; each branch has more steps."""
    for number in range(depth, 0, -1):
        branch, other = ("IfSteps", "ElseSteps") if number % 2 else ("ElseSteps", "IfSteps")
        after = processing(f"After{number}", "x") | {"DependsOn": [step["Name"]]}
        condition = {"Type": "LessThan", "LeftValue": 1.0, "RightValue": number}
        arguments = {
            "Conditions": [condition],
            branch: [processing(f"Before{number}", "x"), step, after],
            other: [processing(f"Other{number}", "x")] if number % 3 else [],
        }
        step = {"Name": f"C{number}", "Type": "Condition", "Arguments": arguments}
    # Refers to a step whose block is written later than the condition around it.
    last = processing("Last", {"Get": f"Steps.Before{depth}.ProcessingJobName"})
    return {"Version": "2020-12-01", "Steps": [step, last]}


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_conditions_come_back(depth: int, tmp_path: Path) -> None:
    raw = in_branches(processing("Innermost", "x"), depth)
    file = tmp_path / "deep.py"
    file.write_text(write(sagebridge.read(raw, name="deep").pipeline)[0])
    check_clean(file.read_text(), tmp_path)
    compile(file.read_text(), str(file), "exec")
    pipeline, losses = read(file)
    assert same(to_json(pipeline), raw)
    assert losses == ()


def test_only_deep_branches_start_at_the_margin() -> None:
    shallow, deep = (
        write(sagebridge.read(in_branches(processing("In", "x"), depth)).pipeline)[0]
        for depth in (8, 20)
    )
    assert "to limit nesting" not in shallow
    assert re.findall("# (.*) is in (.*): its branches", deep) == [
        ("sagebridge: c9", "c8.unmet()"),
        ("sagebridge: c17", "c16.unmet()"),
    ]
    assert max(len(line) - len(line.lstrip()) for line in deep.splitlines()) < 60


@pytest.mark.parametrize("target", ["prefect", "sagemaker"])
def test_deeper_conditions_are_rejected(target: str, tmp_path: Path) -> None:
    raw = nested_conditions(MAX_CONDITIONS + 1)
    text = sagebridge.write(raw, target).text
    file = tmp_path / ("deep.py" if target == "prefect" else "deep.json")
    file.write_text(text)
    error, message = (
        (PythonFileError, r"deep.py:\d+: conditions are nested more than 100 deep; move branches")
        if target == "prefect"
        else (SourceError, "nested too deeply .* 100 conditions in each other")
    )
    with pytest.raises(error, match=message):
        sagebridge.read(file)


def test_a_flow_too_deep_for_recursion_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "deep.py"
    file.write_text(sagebridge.write(nested_conditions(400), "prefect").text)
    with pytest.raises(PythonFileError, match="conditions are nested more than 100 deep"):
        sagebridge.read(file)


def test_values_keep_their_limit_inside_conditions() -> None:
    value = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(SourceError, match="nested too deeply"):
        sagebridge.read(in_branches(processing("Innermost", value), 5))
    for type_ in ("Training", "Condition"):
        raw = in_branches(processing("Innermost", "x"), 70)
        raw["Steps"][0]["Type"] = type_
        if type_ == "Condition":
            sagebridge.read(raw)
        else:
            with pytest.raises(SourceError, match="nested too deeply"):
                sagebridge.read(raw)
