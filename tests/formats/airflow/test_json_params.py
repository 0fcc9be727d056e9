"""Params that are lists and dicts become arguments of a flow, and strings for SageMaker."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import ParameterError
from sagebridge.model.code_removal import without_carried
from sagebridge.model.expressions import Template, join, parameter
from sagebridge.model.parameters import Parameter, coerce
from tests.formats.airflow.conftest import HEAD, Read

pytestmark = pytest.mark.airflow
FILE = (
    HEAD
    + """
with DAG(
    "lists",
    schedule=None,
    params={
        "stores": Param(["a", "b"], type="array"),
        "limits": {"low": 1, "high": [2, 3]},
    },
) as dag:
    BashOperator(task_id="shown", bash_command="echo {{ params.stores }} {{ params.limits.low }}")

    @task
    def total(stores, params=None):
        return len(stores) + params["limits"]["low"]

    total(dag.param("stores"))
"""
)


def test_lists_and_dicts_are_arguments(read: Read, tmp_path: Path) -> None:
    reading = read(FILE)
    assert reading.losses == ()
    shown, total = reading.pipeline.steps
    assert shown.arguments["command"] == join(
        "", "echo ", Template("{{ params.stores }}"), " ", Template("{{ params.limits.low }}")
    )
    assert total.arguments["args"] == (parameter("stores"),)
    text, losses = sagebridge.write(reading.pipeline, "prefect")
    assert losses == ()
    assert 'stores: list = ["a", "b"], limits: dict = {"low": 1, "high": [2, 3]}' in text
    flow = tmp_path / "flow.py"
    flow.write_text(text)
    back, losses = sagebridge.read(flow)
    assert losses == ()
    assert back == reading.pipeline
    text, losses = sagebridge.write(reading.pipeline, "airflow")
    assert losses == ()
    assert '"stores": Param(["a", "b"], type="array"),' in text
    plain, losses = without_carried(reading.pipeline)
    assert plain.declared[0].default == '["a", "b"]'
    assert [loss.what for loss in losses if loss.code == "param-type"] == [
        "parameter 'stores' is a list or dict; here it is a string of JSON",
        "parameter 'limits' is a list or dict; here it is a string of JSON",
    ]


def test_values_of_lists_and_dicts() -> None:
    declared = (Parameter("a", "Array", (1,)), Parameter("o", "Object"))
    assert coerce(declared, {"o": '{"x": 1}'}) == {"a": [1], "o": {"x": 1}}
    assert coerce(declared, {"a": "[2]", "o": {}}) == {"a": [2], "o": {}}
    with pytest.raises(ParameterError, match="expected a JSON array"):
        coerce(declared, {"a": "x", "o": {}})
