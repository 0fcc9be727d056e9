"""String defaults of SageMaker parameters in Airflow's Params."""

from __future__ import annotations

from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.authoring.definition_writer import definition
from sagebridge.model.values import same
from sagebridge_operators.airflow import build

pytestmark = pytest.mark.airflow

RAW: dict[str, Any] = {
    "Version": "2020-12-01",
    "Parameters": [
        {"Name": "N", "Type": "Integer", "DefaultValue": "5"},
        {"Name": "F", "Type": "Float", "DefaultValue": "0.5"},
        {"Name": "B", "Type": "Boolean", "DefaultValue": "True"},
        {"Name": "S", "Type": "String", "DefaultValue": "0123"},
    ],
    "Steps": [{"Name": "A", "Type": "Model", "Arguments": {}}],
}


def test_string_default_runs_in_airflow() -> None:
    dag = build(sagebridge.read(RAW).pipeline, dag_id="d")
    assert dag.params.dump() == {"N": 5, "F": 0.5, "B": True, "S": "0123"}
    assert same(definition(pipeline_of(dag)), RAW)


def test_edited_default_wins() -> None:
    dag = build(sagebridge.read(RAW).pipeline, dag_id="d")
    dag.params["N"] = 7
    changed = {p.name: p.default for p in pipeline_of(dag).declared}
    assert changed == {"N": 7, "F": "0.5", "B": "True", "S": "0123"}
