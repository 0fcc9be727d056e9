"""Unknown functions and variables are kept, and each is a loss with its pointer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.errors import SourceError
from tests.strategies import canonical

ARGUMENTS = {
    "a/b": [{"Std:Reverse": {"Values": [1]}}],
    "joined": {"Std:Join": {"On": "-", "Values": ["x", {"Get": "Execution.Nonsense"}]}},
    "item": {"Get": "Loop.Item"},
    "known": {"Get": "Execution.PipelineName"},
}
COMPARED = {
    "Type": "Equals",
    "LeftValue": {"Get": "PipelineExperimentConfig.Other"},
    "RightValue": 1,
}
DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Steps": [
        {"Name": "Use", "Type": "Lambda", "FunctionArn": "f", "Arguments": ARGUMENTS},
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {"Conditions": [COMPARED], "IfSteps": [], "ElseSteps": []},
        },
    ],
}


@pytest.mark.parametrize("target", ["airflow", "prefect"])
def test_unknown_functions_are_losses_and_stay(target: str) -> None:
    pipeline = sagebridge.read(json.dumps(DEFINITION), name="odd").pipeline
    text, losses = sagebridge.write(pipeline, target)
    assert [(loss.code, loss.severity, loss.place) for loss in losses] == [
        ("unknown-expression", "changed", "/Steps/0/Arguments/a~1b/0"),
        ("unknown-expression", "changed", "/Steps/0/Arguments/joined"),
        ("unknown-expression", "changed", "/Steps/0/Arguments/item"),
        ("unknown-expression", "changed", "/Steps/1/Arguments/Conditions/0"),
    ]
    said = ("function 'Std:Reverse'", "variable 'Execution.Nonsense'", "reference 'Loop.Item'")
    assert [f"unknown {what}" in str(loss) for what, loss in zip(said, losses, strict=False)] == [
        True
    ] * 3
    assert text.count("# sagebridge: unknown-expression: ") == len(losses)


def test_unknown_functions_come_back_from_a_flow_file(tmp_path: Path) -> None:
    pipeline = sagebridge.read(json.dumps(DEFINITION), name="odd").pipeline
    file = tmp_path / "odd.py"
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    back = sagebridge.write(sagebridge.read(file).pipeline, "sagemaker").text
    assert canonical(json.loads(back)) == canonical(DEFINITION)


def test_python_source_is_not_a_source() -> None:
    with pytest.raises(SourceError, match="write the Python source to a file first"):
        sagebridge.read("from prefect import flow\n" * 200, "prefect")
