"""Hand-edited default arguments ``definition`` and ``pipeline`` of a DAG."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files

pytestmark = pytest.mark.airflow

DAG = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import ModelOperator

with DAG("d", schedule=None, default_args={}):
    ModelOperator(task_id="A", arguments={{}})
"""
WRONG = {
    "{'definition': {'Steps': 5}}": "definition: Steps: expected a list of step names, got 5",
    "{'definition': {'Parameters': 5}}": "definition: Parameters: expected dicts, got 5",
    "{'definition': {'KeyOrder': {'Steps': 5}}}": "expected a list of keys at 'Steps', got 5",
    "{'pipeline': {'Tags': {1}}}": "pipeline: a set is not a pipeline value",
}


def test_wrong_arguments_are_rejected_and_foreign_ones_reported(tmp_path: Path) -> None:
    others = "{'definition': 'x', 'pipeline': 5}"
    files = [tmp_path / f"dag{number}.py" for number in range(len(WRONG) + 1)]
    for file, arguments in zip(files, [*WRONG, others], strict=True):
        file.write_text(DAG.format(arguments))
    *rejected, read = read_files(files)
    for error, problem in zip(rejected, WRONG.values(), strict=True):
        assert isinstance(error, SourceError)
        assert ".py:5: " in str(error)
        assert problem in str(error)
    assert not isinstance(read, Exception)
    ((reading,)) = read
    assert [step.name for step in reading.pipeline.steps] == ["A"]
    assert "the DAG: options that only Airflow uses: definition, pipeline" in [
        loss.what for loss in reading.losses
    ]
