"""Commands, DAGs and folders of an Airflow, for the versions that have few other tests."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
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
SHAPES_STATES = {
    "Fan_items": ["success"],
    "Double": ["success", "success"],
    "Fan": ["success"],
    "Check": ["success"],
    "Few": ["success"],
    "Many": ["skipped"],
    "AfterMany": ["skipped"],
    "Retried": ["success"],
}


def new_home(home: Path) -> dict[str, str]:
    """The environment of an Airflow with an empty DAGs folder, and with the data of the example."""
    from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
    from sagebridge_operators.launch import airflow_home
    from sagebridge_operators.launch.private_engine import free_port

    (home / "dags").mkdir()
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
    return airflow_home.environment(home, free_port(), more=more)


def airflow(environment: Mapping[str, str], *arguments: str) -> str:
    """The output of a command of Airflow."""
    command = [sys.executable, "-P", "-m", "airflow", *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def pairs(environment: Mapping[str, str], query: str, *values: str) -> list[tuple[str, str]]:
    """The rows of a query of two columns of the metadata database."""
    with closing(sqlite3.connect(Path(environment["AIRFLOW_HOME"], "airflow.db"))) as database:
        return database.execute(query, values).fetchall()


def states(environment: Mapping[str, str], dag_id: str) -> dict[str, list[str]]:
    """The states of each task; of a mapped one in the order of its indexes."""
    found: dict[str, list[str]] = {}
    query = "select task_id, state from task_instance where dag_id = ? order by map_index"
    for task, state in pairs(environment, query, dag_id):
        found.setdefault(task, []).append(state)
    return found


def check_abalone(environment: Mapping[str, str]) -> None:
    """The states after a run of the example."""
    ended = states(environment, "AbalonePipeline")
    assert ended.pop("AbaloneMSEFail") == ["skipped"]
    assert len(ended) == 7
    assert set(map(tuple, ended.values())) == {("success",)}
