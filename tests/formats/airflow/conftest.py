"""A fixture that writes a DAG file and reads it with the real importer, in its subprocess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading

pytest.importorskip("airflow")

Read = Callable[[str], FileReading]
HEAD = """
from __future__ import annotations
import json
from typing import Any
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, task

"""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads the only DAG of a file with the given source."""

    def read_text(text: str) -> FileReading:
        file = tmp_path / "dag.py"
        file.write_text(text)
        (found,) = read_files([file])
        assert not isinstance(found, Exception), found
        (dag,) = found
        return dag

    return read_text
