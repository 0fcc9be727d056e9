"""Flow files are Prefect flows that declare the definition when called."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.authoring.flow_signature import live_arguments
from sagebridge.authoring.pipeline_builder import CURRENT, PipelineBuilder
from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import same
from tests.prefect.conftest import flow_of

pytestmark = pytest.mark.prefect

FLOWS = Path(__file__).parent.parent.parent / "flows"


def called(flow: Any) -> Pipeline:
    """The pipeline of a flow whose function is called without a run."""
    builder = PipelineBuilder(flow.name, live_arguments(flow.fn))
    reset = CURRENT.set(builder)
    try:
        flow.fn(**dict.fromkeys(inspect.signature(flow.fn).parameters))
    finally:
        CURRENT.reset(reset)
    return builder.pipeline()


def test_each_definition_becomes_a_flow(definition: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = flow_of(write(pipeline)[0])
    assert same(to_json(called(flow)), json.loads(definition.read_text()))
    asked = inspect.signature(flow.fn).parameters.values()
    required = {one.name for one in asked if one.default is one.empty}
    assert set(flow.parameters.required or ()) == required


def test_odd_parameter_names_work() -> None:
    names = (
        "copy",
        "json",
        "schema",
        "model_name",
        "model_config",
        "self",
        "in-put",
        "class",
        "return_state",
        "wait_for",
        "_private",
        "validate",
        "register",
        "dict",
        "flow",
    )
    raw = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": "v"} for name in names],
        "Steps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}],
    }
    flow = flow_of(write(sagebridge.read(raw).pipeline)[0])
    assert same(to_json(called(flow)), raw)
    flow.validate_parameters(dict.fromkeys(inspect.signature(flow.fn).parameters, "x"))


def test_form_shows_types_choices_defaults_and_descriptions() -> None:
    raw = {
        "Version": "2020-12-01",
        "Parameters": [
            {
                "Name": "Stage",
                "Type": "String",
                "EnumValues": ["dev", "prod"],
                "DefaultValue": "dev",
                "Description": "Where it runs",
            },
            {"Name": "Count", "Type": "Integer"},
            {"Name": "Part", "Type": "Float", "DefaultValue": 0.5},
        ],
        "Steps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}],
    }
    schema = flow_of(write(sagebridge.read(raw).pipeline)[0]).parameters
    assert schema.required == ["Count"]
    assert schema.properties["Stage"]["enum"] == ["dev", "prod"]
    assert schema.properties["Stage"]["default"] == "dev"
    assert schema.properties["Stage"]["description"] == "Where it runs"
    assert schema.properties["Count"]["type"] == "integer"
    assert schema.properties["Part"]["type"] == "number"


def test_committed_flow_is_fresh() -> None:
    definition = FLOWS.parent / "pipelines" / "abalone" / "definition.json"
    pipeline = sagebridge.read(definition, name="AbalonePipeline").pipeline
    assert (FLOWS / "abalone.py").read_text() == write(pipeline)[0]
