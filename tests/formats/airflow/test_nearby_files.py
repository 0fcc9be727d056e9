"""Modules and files next to a DAG file that its code needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read
from tests.formats.airflow.conftest import HEAD

pytestmark = pytest.mark.airflow


def test_needed_files_next_to_the_dag_are_losses(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "__init__.py").write_text("")
    (tmp_path / "team" / "rates.py").write_text("EUR = 1\n")
    file = tmp_path / "dag.py"
    file.write_text(
        HEAD
        + """
import os
from team.rates import EUR

HERE = os.path.dirname(__file__)

with DAG("d", schedule=None):
    @task
    def convert():
        return EUR, HERE, json.dumps({})
    convert()
"""
    )
    _, losses = read(str(file))
    assert [(loss.code, loss.severity) for loss in losses] == [("nearby-file", "changed")] * 2
    assert sorted("team" in loss.what for loss in losses) == [False, True]
