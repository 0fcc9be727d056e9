"""What a task gets from other places: template files, callable objects, results of a group."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.model.code_steps import PythonStep
from sagebridge.model.expressions import Get, Member, Template, join
from tests.formats.airflow.conftest import Read

pytestmark = pytest.mark.airflow
FILE = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task, task_group


class Loader:
    def __init__(self, table):
        self.table = table

    def __call__(self, ds):
        return f"{self.table} {ds}"


class Tools:
    @staticmethod
    def low(value):
        return value.lower()


load = Loader("orders")

with DAG("sources", schedule=None):
    BashOperator(task_id="run", bash_command="sql/run.sh")
    BashOperator(task_id="gone", bash_command="gone.sh")
    PythonOperator(task_id="load", python_callable=load)
    PythonOperator(task_id="inline", python_callable=Loader("x"))
    PythonOperator(task_id="low", python_callable=Tools.low, op_args=["A"])

    @task.bash
    def command():
        return "echo {{ ds }}"

    command()

    @task
    def double(one):
        return 2 * one

    @task
    def add(one):
        return one + 1

    @task_group
    def both(one):
        return add(double(one))

    @task
    def total(found):
        return sum(found)

    total(both.expand(one=[1, 2]))

    @task
    def clean():
        pass

    command() >> clean().as_teardown(on_failure_fail_dagrun=True)
"""


def test_sources_of_tasks(read: Read, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "run.sh").write_text("echo {{ ds }}\n")
    reading = read(FILE)
    steps = {one.name: one for one in reading.pipeline.steps}
    assert steps["run"].arguments["command"] == join("", "echo ", Template("{{ ds }}"))
    load = steps["load"]
    assert isinstance(load, PythonStep)
    assert load.function.name == "load"
    assert 'load = Loader("orders")' in load.function.module
    inline = steps["inline"]
    assert isinstance(inline, PythonStep)
    assert inline.function.module.endswith("loader_call = Loader(table='x')")
    low = steps["low"]
    assert isinstance(low, PythonStep)
    assert low.function.code.startswith("def low(value):")
    command = steps["command"]
    assert isinstance(command, PythonStep)
    assert command.context
    assert command.arguments["kwargs"]["templated"] is True
    assert steps["total"].arguments["args"] == (
        Get("Steps", (Member("both"), Member("return_value"))),
    )
    lost = {(one.code, one.what.split(": ")[1]) for one in reading.losses}
    assert lost == {
        ("template", "its template file 'gone.sh' is missing, so its step gets the name"),
        ("shell-task", "it runs the script file gone.sh, so the task is dropped"),
        ("trigger-rule", "its failure does not fail the run (on_failure_fail_dagrun)"),
    }
