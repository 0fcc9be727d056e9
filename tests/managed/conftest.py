"""These tests run only on the Airflow versions of managed services; the newest has tests/e2e."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.managed.commands import REPOSITORY, SHAPES, airflow, new_home

try:
    collect_ignore_glob = [] if version("apache-airflow").startswith(("2.", "3.0.")) else ["*"]
except PackageNotFoundError:
    collect_ignore_glob = ["*"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of an Airflow with a database, and with the data of the example."""
    found = new_home(tmp_path_factory.mktemp("airflow"))
    dags = Path(found["AIRFLOW_HOME"], "dags")
    shutil.copy(REPOSITORY / "dags" / "abalone.py", dags)
    (dags / "shapes.py").write_text(SHAPES)
    airflow(found, "db", "migrate")
    return found
