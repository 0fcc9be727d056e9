"""Commands and DAGs for the Airflow versions of managed services."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

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


def check_abalone(environment: Mapping[str, str]) -> None:
    """The states after a run of the example."""
    ended = states(environment, "AbalonePipeline")
    assert ended.pop("AbaloneMSEFail") == ["skipped"]
    assert len(ended) == 7
    assert set(map(tuple, ended.values())) == {("success",)}
