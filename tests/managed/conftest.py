"""These tests run only on the Airflow versions of managed services; the newest has tests/e2e."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.managed.commands import SHAPES, airflow

try:
    collect_ignore_glob = [] if version("apache-airflow").startswith(("2.", "3.0.")) else ["*"]
except PackageNotFoundError:
    collect_ignore_glob = ["*"]
REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLE = REPOSITORY / "pipelines" / "abalone"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of an Airflow with a database, and with the data of the example."""
    from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
    from sagebridge_operators.launch import airflow_home
    from sagebridge_operators.launch.private_engine import free_port

    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    shutil.copy(REPOSITORY / "dags" / "abalone.py", home / "dags")
    (home / "dags" / "shapes.py").write_text(SHAPES)
    store = home / "work" / "s3" / "sagebridge-abalone"
    (store / "code").mkdir(parents=True)
    for script in ("preprocessing.py", "evaluation.py"):
        shutil.copy(EXAMPLE / script, store / "code")
    subprocess.run([sys.executable, str(EXAMPLE / "sample_data.py"), store / "data"], check=True)
    more = {"SAGEBRIDGE_BACKEND": "local", "SAGEBRIDGE_HOME": str(home / "work")}
    # Airflow 2 runs tasks by the command `airflow`, and allows only this executor with SQLite.
    more["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if IS_AIRFLOW_2:
        more["AIRFLOW__CORE__EXECUTOR"] = "SequentialExecutor"
    found = airflow_home.environment(home, free_port(), more=more)
    airflow(found, "db", "migrate")
    return found
