"""A definition written as a flow file and read from its source is the same JSON."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

import sagebridge
from sagebridge.authoring import public_names
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.errors import NestedTooDeep
from sagebridge.formats.prefect.reader import read
from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import same
from tests import strategies
from tests.formats.test_airflow_writer import NAMES, WORDS, distinct, processing
from tests.generated import check_clean


def back(text: str, folder: Path) -> Pipeline:
    """What reading a flow file gives; nothing is lost by it."""
    file = folder / "written.py"
    file.write_text(text, encoding="utf-8")
    pipeline, losses = read(file)
    assert losses == ()
    return pipeline


def test_comes_back(definition: Path, tmp_path: Path) -> None:
    text, losses = write(sagebridge.read(definition).pipeline)
    assert same(to_json(back(text, tmp_path)), json.loads(definition.read_text()))
    known = sagebridge.validate(definition)
    if not any(f.code.startswith(("unknown", "dependency-trigger")) for f in known):
        assert losses == ()


def test_is_the_same_twice_and_clean(definition: Path, tmp_path: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    text = write(pipeline)[0]
    assert text == write(pipeline)[0]
    check_clean(text, tmp_path)


@pytest.mark.parametrize("word", WORDS)
def test_texts_stay_texts(word: str, tmp_path: Path) -> None:
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
    text = write(sagebridge.read(raw, name=word or None).pipeline)[0]
    pipeline = back(text, tmp_path)
    assert same(to_json(pipeline), raw)
    assert pipeline.name == (word or "pipeline")
    for line in text.splitlines():
        assert not line.lstrip().startswith("#") or "sagebridge: " in line
    strings = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]
    assert word in strings


def test_no_argument_hides_what_a_file_may_import(tmp_path: Path) -> None:
    room = Path(__file__).parents[3] / "operators" / "sagebridge_operators" / "prefect"
    module = ast.parse((room / "__init__.py").read_text())
    (exported,) = [node.value for node in module.body if isinstance(node, ast.Assign)]
    functions = {row.function for row in OPERATOR_TYPES.values()}
    names = {*ast.literal_eval(exported), *public_names.__all__, *functions}
    assert {"OutputParameter", "lambda_", "begin"} <= names
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "DefaultValue": "v"} for name in sorted(names)],
        "Steps": [
            {
                "Name": "A",
                "Type": "Lambda",
                "FunctionArn": "f",
                "OutputParameters": [{"OutputName": "o"}],
                "CacheConfig": {"Enabled": True},
            },
            {"Name": "B", "Type": "Processing", "Arguments": {}, "PropertyFiles": []},
        ],
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    check_clean(text, tmp_path)
    assert same(to_json(back(text, tmp_path)), raw)
    (flow,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert not names & {one.arg for one in flow.args.args}


def test_odd_names_get_names_of_their_own(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [processing(name, "x") for name in NAMES]
    steps[-1]["Arguments"]["Uses"] = {"Get": "Steps.a-b.ProcessingJobName"}
    names = (*NAMES, "l", "I", "return_state", "wait_for", "flow", "model_x", "step", "_x", "copy")
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": "v"} for name in names],
        "Steps": steps,
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    assert same(to_json(back(text, tmp_path)), raw)
    (flow,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    arguments = {one.arg for one in (*flow.args.args, *flow.args.kwonlyargs)}
    stored = {n.id for n in ast.walk(flow) if isinstance(n, ast.Name) and n.id in arguments}
    assert len(arguments) == len(names)
    assert not stored, "no variable hides an argument"


def test_what_lies_around_a_definition_goes_along(tmp_path: Path) -> None:
    request = {
        "PipelineName": "a/pipeline: mine",
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
    text = write(pipeline)[0]
    read_back = back(text, tmp_path)
    for field in ("name", "description", "display_name", "role_arn", "tags", "parallelism"):
        assert getattr(read_back, field) == getattr(pipeline, field)


def test_a_default_that_is_null_is_none_until_somebody_gives_one(tmp_path: Path) -> None:
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Rate", "Type": "Float", "DefaultValue": None}],
        "Steps": [processing("A", "x")],
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    assert "Rate: float)" in text
    assert same(to_json(back(text, tmp_path)), raw)
    given_one = back(text.replace("Rate: float)", "Rate: float = 0.5)"), tmp_path)
    assert given_one.declared[0].default == 0.5


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.definitions())
def test_whatever_is_drawn_comes_back(tmp_path_factory: Any, raw: dict[str, Any]) -> None:
    pipeline = sagebridge.read(raw).pipeline
    assume(distinct(pipeline))
    text = write(pipeline)[0]
    assert same(to_json(back(text, tmp_path_factory.getbasetemp())), raw)


@pytest.mark.parametrize("depth", [20, 21])
def test_conditions_as_deep_as_python_compiles(depth: int, tmp_path: Path) -> None:
    step: dict[str, Any] = processing("Innermost", "x")
    for number in range(depth):
        side = "IfSteps" if number % 2 else "ElseSteps"
        arguments = {"Conditions": [], "IfSteps": [], "ElseSteps": [], side: [step]}
        step = {"Name": f"C{number}", "Type": "Condition", "Arguments": arguments}
    raw = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    pipeline = sagebridge.read(raw, name="deep").pipeline
    if depth > 20:
        with pytest.raises(NestedTooDeep, match=r"deep stand 21 deep .* at most 20 blocks"):
            write(pipeline)
        return
    text = write(pipeline)[0]
    compile(text, "written.py", "exec")
    assert same(to_json(back(text, tmp_path)), json.loads(raw))
