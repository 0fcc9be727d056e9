"""Written DAG files with real processes of an old Airflow; run by a command, and not in CI.

``make test-airflow-2.11-scheduler`` starts the scheduler of Airflow 2.11, which also parses files.
Airflow 3.0 has an API server and a DAG processor, too.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
from tests.managed.commands import SHAPES_STATES, airflow, check_abalone, states

_PATIENCE = 900.0
pytestmark = [pytest.mark.airflow, pytest.mark.managed, pytest.mark.timeout(2 * _PATIENCE)]


def test_scheduler_runs_written_files(environment: Mapping[str, str]) -> None:
    with processes(environment):
        airflow(environment, "dags", "reserialize")
        for dag in ("AbalonePipeline", "shapes"):
            airflow(environment, "dags", "trigger", dag)
        until = time.monotonic() + _PATIENCE
        while not {"success", "failed"}.issuperset(ended := runs(environment)):
            assert time.monotonic() < until, ended
            time.sleep(2)

    # Two runs: the schedule of the second DAG has not started one.
    assert ended == ["success", "success"], Path(environment["AIRFLOW_HOME"])
    check_abalone(environment)
    assert states(environment, "shapes") == SHAPES_STATES


@contextmanager
def processes(environment: Mapping[str, str]) -> Iterator[None]:
    """Runs the processes of Airflow, each with its log in AIRFLOW_HOME."""
    started = []
    try:
        for name in (
            ("scheduler",) if IS_AIRFLOW_2 else ("api-server", "dag-processor", "scheduler")
        ):
            with Path(environment["AIRFLOW_HOME"], f"{name}.log").open("w") as log:
                command = [sys.executable, "-P", "-m", "airflow", name]
                started.append(
                    subprocess.Popen(
                        command, env=environment, stdout=log, stderr=log, start_new_session=True
                    )
                )
        yield
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def runs(environment: Mapping[str, str]) -> list[str]:
    """The states of all DAG runs."""
    with closing(sqlite3.connect(Path(environment["AIRFLOW_HOME"], "airflow.db"))) as database:
        return [state for (state,) in database.execute("select state from dag_run")]
