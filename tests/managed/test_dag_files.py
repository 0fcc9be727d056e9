"""Written DAG files on the Airflow versions of managed services: ``airflow dags test``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
from tests.managed.commands import SHAPES_STATES, airflow, check_abalone, states

pytestmark = [pytest.mark.airflow, pytest.mark.managed]


def test_written_example_runs(environment: Mapping[str, str]) -> None:
    airflow(environment, "dags", "test", "AbalonePipeline")

    check_abalone(environment)


def test_loops_branches_and_retries_run(environment: Mapping[str, str]) -> None:
    output = airflow(environment, "dags", "test", "shapes")

    assert states(environment, "shapes") == SHAPES_STATES
    assert "try 1 of 2 failed; Airflow starts the step again" in output


def test_schedules_have_the_defaults_of_airflow_3() -> None:
    from airflow.sdk import DAG
    from airflow.timetables.trigger import CronTriggerTimetable

    dag: Any = DAG("nightly", schedule="0 4 * * *")

    # A CronDataIntervalTimetable starts the run of a day on the next one.
    assert isinstance(dag.timetable, CronTriggerTimetable)
    assert dag.catchup is False


def test_first_run_without_a_start_date_is_the_next_one() -> None:
    from airflow.sdk import DAG
    from airflow.timetables.base import TimeRestriction

    now = datetime.now(UTC)
    dag: Any = DAG("yearly", schedule=f"0 0 1 {(now.month + 5) % 12 + 1} *")
    given = TimeRestriction(dag.start_date, None, dag.catchup)
    first = dag.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=given)

    assert first.run_after > now


def test_other_files_of_airflow_2_do_not_change(tmp_path: Path) -> None:
    """Many try ``airflow.sdk`` first. Nothing but ``airflow.sdk`` is loaded with Airflow itself."""
    file = tmp_path / "other.py"
    file.write_text(
        "import sys\n"
        "import airflow\n"
        "print('sagebridge_' 'operators.airflow' in sys.modules)\n"
        "try:\n"
        "    from airflow.sdk import DAG\n"
        "except ImportError:\n"
        "    from airflow import DAG\n"
        "print(DAG.__module__)\n"
    )
    command = [sys.executable, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)

    own = "airflow.models.dag" if IS_AIRFLOW_2 else "airflow.sdk.definitions.dag"
    assert ran.stdout.split() == ["False", own]
