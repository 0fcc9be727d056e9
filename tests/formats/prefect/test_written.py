"""Definitions written as flow files and read back are equal JSON."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import sagebridge
from sagebridge.authoring import public_names
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.formats.prefect.reader import read
from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import same
from tests import strategies
from tests.formats.test_airflow_writer import NAMES, WORDS, processing, read_distinct
from tests.generated import check_clean


def read_back(text: str, folder: Path) -> Pipeline:
    """The pipeline of a flow file, read without losses."""
    file = folder / "written.py"
    file.write_text(text, encoding="utf-8")
    pipeline, losses = read(file)
    assert losses == ()
    return pipeline


def test_round_trip(definition: Path, tmp_path: Path) -> None:
    text, losses = write(sagebridge.read(definition).pipeline)
    assert same(to_json(read_back(text, tmp_path)), json.loads(definition.read_text()))
    known = sagebridge.validate(definition)
    if not any(f.code.startswith(("unknown", "dependency-trigger")) for f in known):
        assert {loss.code for loss in losses} <= {"callback-answer"}  # of Callback steps


def test_output_is_deterministic_and_clean(definition: Path, tmp_path: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    text = write(pipeline)[0]
    assert text == write(pipeline)[0]
    check_clean(text, tmp_path)


@pytest.mark.parametrize("word", WORDS)
def test_strings_stay_strings(word: str, tmp_path: Path) -> None:
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
    pipeline = read_back(text, tmp_path)
    assert same(to_json(pipeline), raw)
    assert pipeline.name == (word or "pipeline")
    for line in text.splitlines():
        assert not line.lstrip().startswith("#") or "sagebridge: " in line
    strings = [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]
    assert word in strings


def test_parameter_does_not_shadow_an_import(tmp_path: Path) -> None:
    room = Path(__file__).parents[3] / "operators" / "sagebridge_operators" / "prefect"
    module = ast.parse((room / "__init__.py").read_text())
    (exported,) = [node.value for node in module.body if isinstance(node, ast.Assign)]
    functions = {row.function for row in OPERATOR_TYPES.values()}
    names = {*ast.literal_eval(exported), *public_names.__all__, *functions}
    names |= {"bool", "dict", "float", "int", "list", "str"}  # the types of parameters
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
    assert same(to_json(read_back(text, tmp_path)), raw)
    (flow,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert not names & {one.arg for one in flow.args.args}


def test_odd_names_get_distinct_variables(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [processing(name, "x") for name in NAMES]
    steps[-1]["Arguments"]["Uses"] = {"Get": "Steps.a-b.ProcessingJobName"}
    names = (*NAMES, "l", "I", "return_state", "wait_for", "flow", "model_x", "step", "_x", "copy")
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": "v"} for name in names],
        "Steps": steps,
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    assert same(to_json(read_back(text, tmp_path)), raw)
    (flow,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    arguments = {one.arg for one in (*flow.args.args, *flow.args.kwonlyargs)}
    stored = {n.id for n in ast.walk(flow) if isinstance(n, ast.Name) and n.id in arguments}
    assert len(arguments) == len(names)
    assert not stored, "no variable hides an argument"


def test_request_fields_round_trip(tmp_path: Path) -> None:
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
    pipeline_again = read_back(text, tmp_path)
    for field in ("name", "description", "display_name", "role_arn", "tags", "parallelism"):
        assert getattr(pipeline_again, field) == getattr(pipeline, field)


def test_null_default_round_trips(tmp_path: Path) -> None:
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Rate", "Type": "Float", "DefaultValue": None}],
        "Steps": [processing("A", "x")],
    }
    text = write(sagebridge.read(raw).pipeline)[0]
    assert "Rate: float)" in text
    assert same(to_json(read_back(text, tmp_path)), raw)
    given_one = read_back(text.replace("Rate: float)", "Rate: float = 0.5)"), tmp_path)
    assert given_one.declared[0].default == 0.5


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.definitions())
def test_random_definition_round_trips(tmp_path_factory: Any, raw: dict[str, Any]) -> None:
    pipeline = read_distinct(raw)
    text = write(pipeline)[0]
    assert same(to_json(read_back(text, tmp_path_factory.getbasetemp())), raw)
