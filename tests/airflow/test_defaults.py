"""String defaults of SageMaker parameters in Airflow's Params."""

from __future__ import annotations

from pathlib import Path
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


def test_empty_default_is_read_back_without_losses(tmp_path: Path) -> None:
    raw = {**RAW, "Parameters": [{"Name": "S", "Type": "String", "DefaultValue": ""}]}
    file = tmp_path / "dag.py"
    file.write_text(sagebridge.translate(raw, "airflow").text)
    reading = sagebridge.read(file)
    assert reading.losses == ()
    assert same(definition(reading.pipeline), raw)


@pytest.mark.parametrize(
    ("param", "nullable"),
    [
        ('"x", type=["string", "null"]', True),
        ('"", type=["string", "null"]', False),  # as sagebridge writes it: null is ""
        ('"", type=["null", "string"]', True),
    ],
)
def test_null_is_a_value_if_it_is_not_an_empty_string(
    param: str, nullable: bool, tmp_path: Path
) -> None:
    raw = {**RAW, "Parameters": [{"Name": "S", "Type": "String", "DefaultValue": "x"}]}
    text = sagebridge.translate(raw, "airflow").text
    file = tmp_path / "dag.py"
    file.write_text(text.replace('Param("x", type="string")', f"Param({param})"))
    reading = sagebridge.read(file)
    assert reading.losses == ()
    (found,) = reading.pipeline.declared
    assert found.nullable is nullable
    again, losses = sagebridge.write(reading.pipeline, "airflow")
    assert losses == ()
    assert f"Param({param})" in again or '["null", "string"]' in again
