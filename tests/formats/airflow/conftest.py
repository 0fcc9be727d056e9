"""DAG files that are written for one test and read by the real loader, in its subprocess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import DagReading, read_files

pytest.importorskip("airflow")

Read = Callable[[str], DagReading]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads the one DAG of a file of that text."""

    def reads(text: str) -> DagReading:
        file = tmp_path / "dag.py"
        file.write_text(text)
        (found,) = read_files([file])
        assert not isinstance(found, Exception), found
        (dag,) = found
        return dag

    return reads
