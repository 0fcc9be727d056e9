"""Written DAG files on the Airflow versions of managed services: ``airflow dags test``."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2

REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLE = REPOSITORY / "pipelines" / "abalone"
SHAPES = '''
"""A loop, a branch, code that fails once, and a schedule."""

from airflow.sdk import DAG, Param
from sagebridge_operators.airflow import (
    ConditionOperator,
    ForEachOperator,
    PythonStepOperator,
    ShellStepOperator,
    current_item,
    less_than,
    parameter,
)


def double(number):
    return int(number) * 2


def fail_once(ti):
    if ti.try_number == 1:
        raise ValueError("the first try")
    return ti.try_number


with DAG(dag_id="shapes", schedule="0 4 * * *", params={"N": Param(3, type="integer")}):
    with ForEachOperator(task_id="Fan", items=["1", "2"], max_concurrency=1):
        PythonStepOperator(task_id="Double", python_callable=double, op_args=[current_item])
    few = ShellStepOperator(task_id="Few", bash_command="echo few")
    many = ShellStepOperator(task_id="Many", bash_command="echo many")
    after = ShellStepOperator(task_id="AfterMany", bash_command="echo", depends_on=["Many"])
    ConditionOperator(
        task_id="Check",
        conditions=[less_than(parameter("N"), 5)],
        if_steps=[few],
        else_steps=[many],
        depends_on=["Fan"],
    )
    PythonStepOperator(
        task_id="Retried", python_callable=fail_once, context=True, retries=1, retry_delay=0
    )
'''

pytestmark = [pytest.mark.airflow, pytest.mark.managed]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of an Airflow with a database, and with the data of the example."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    shutil.copy(REPOSITORY / "dags" / "abalone.py", home / "dags")
    (home / "dags" / "shapes.py").write_text(SHAPES)
    store = home / "work" / "s3" / "sagebridge-abalone"
    (store / "code").mkdir(parents=True)
    for script in ("preprocessing.py", "evaluation.py"):
        shutil.copy(EXAMPLE / script, store / "code")
    subprocess.run([sys.executable, str(EXAMPLE / "sample_data.py"), store / "data"], check=True)
    found = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "SAGEBRIDGE_BACKEND": "local",
        "SAGEBRIDGE_HOME": str(home / "work"),
    }
    airflow(found, "db", "migrate")
    return found


def airflow(environment: Mapping[str, str], *arguments: str) -> str:
    """The output of a command of Airflow."""
    command = [sys.executable, "-P", "-m", "airflow", *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def states(environment: Mapping[str, str], dag_id: str) -> dict[str, list[str]]:
    """The states of each task; of a mapped one in the order of its indexes."""
    found: dict[str, list[str]] = {}
    query = "select task_id, state from task_instance where dag_id = ? order by map_index"
    with closing(sqlite3.connect(Path(environment["AIRFLOW_HOME"], "airflow.db"))) as database:
        for task, state in database.execute(query, [dag_id]):
            found.setdefault(task, []).append(state)
    return found


def test_written_example_runs(environment: Mapping[str, str]) -> None:
    airflow(environment, "dags", "test", "AbalonePipeline")

    ended = states(environment, "AbalonePipeline")
    assert ended.pop("AbaloneMSEFail") == ["skipped"]
    assert len(ended) == 7
    assert set(map(tuple, ended.values())) == {("success",)}


def test_loops_branches_and_retries_run(environment: Mapping[str, str]) -> None:
    output = airflow(environment, "dags", "test", "shapes")

    assert states(environment, "shapes") == {
        "Fan_items": ["success"],
        "Double": ["success", "success"],
        "Fan": ["success"],
        "Check": ["success"],
        "Few": ["success"],
        "Many": ["skipped"],
        "AfterMany": ["skipped"],
        "Retried": ["success"],
    }
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
