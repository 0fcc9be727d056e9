"""Fixtures that write a DAG file and read it with the real importer, in its subprocess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading

pytest.importorskip("airflow")

Read = Callable[[str], FileReading]
ReadAll = Callable[[str], dict[str, FileReading]]
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


@pytest.fixture(scope="module")
def read_all(tmp_path_factory: pytest.TempPathFactory) -> ReadAll:
    """Return a function that reads the DAGs of a file with the given source, by DAG id."""

    def read_text(text: str) -> dict[str, FileReading]:
        file = tmp_path_factory.mktemp("dags") / "dags.py"
        file.write_text(text)
        (found,) = read_files([file])
        assert not isinstance(found, Exception), found
        return {dag.name: dag for dag in found}

    return read_text
