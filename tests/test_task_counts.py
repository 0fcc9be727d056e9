"""``sagebridge assess --tasks`` counts the tasks of a file whatever its reader understands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import sagebridge
from sagebridge import task_counts
from sagebridge.cli import main
from sagebridge.formats.python.file_readings import FileReading, TaskPlace
from sagebridge.formats.python.task_call_sites import dag_call_sites, flow_call_sites
from sagebridge.task_counts import TaskCount, count_tasks

DAG = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, task


class Mystery(BaseOperator):
    def execute(self, context):
        self.defer(trigger=None, method_name="execute")


with DAG("mixed", schedule=None):
    start = EmptyOperator(task_id="start")

    @task
    def double(x: int) -> int:
        return 2 * x

    mystery = Mystery(task_id="mystery", owner="me")
    start >> double(1) >> mystery
"""
FLOW = """\
import prefect
from prefect import flow, task as work
from tasks_of_others import imported


@work
def load(x): ...


@work(retries=2)
def clean(x): ...


@work
def unused(): ...


@work
def passed(x): ...


slow = load.with_options(retries=3)
made = prefect.task(print)


class Steps:
    @work
    def method(self): ...


def helper(x):
    return clean.submit(x)


@flow
def inner():
    Steps().method()


@flow
def outer():
    for name in "ab":
        a = load(name)
    slow(a)
    clean.with_options(tags=["x"]).map([a])
    helper(a)
    inner()
    imported(1)
    made(2)
    load.fn(3)
    run_all([passed])
"""


@pytest.fixture
def dag(tmp_path: Path) -> Path:
    file = tmp_path / "mixed.py"
    file.write_text(DAG)
    return file


def counted(file: Path) -> TaskCount:
    (found,) = count_tasks([str(file)])
    assert isinstance(found, TaskCount)
    return found


def test_counts_each_task_of_a_live_dag(dag: Path) -> None:
    found = counted(dag)
    states = {task.name: (task.state, task.line) for task in found.tasks}
    assert states == {"start": ("carried", 11), "mystery": ("lost", 17), "double": ("carried", 18)}
    (lost,) = (task for task in found.tasks if task.state == "lost")
    assert lost.losses[0].startswith(f"{dag}:17: dropped: task mystery: it waits in the triggerer")


def test_tasks_of_a_written_loop_are_carried(tmp_path: Path) -> None:
    file = tmp_path / "loops.py"
    file.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.bash import BashOperator\n\n"
        "with DAG('loops', schedule=None):\n"
        "    for name in ('orders', 'items', 'people', 'stores'):\n"
        "        BashOperator(task_id=f'load_{name}', bash_command=f'load {name} > {name}.csv')\n"
    )
    assert {task.state for task in counted(file).tasks} == {"carried"}
    text = sagebridge.translate(file, "prefect").text
    assert 'shell(f"load_{name}"' in text


def test_finds_tasks_without_step_and_loss(
    dag: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read_dags = task_counts._read_dags

    def forgetful(files: list[str]) -> list[list[FileReading]]:
        (found,) = read_dags(files)
        assert isinstance(found, list)
        (one,) = found
        return [[replace(one, tasks=(*one.tasks, TaskPlace("ghost", "ghost", 18)))]]

    monkeypatch.setattr(task_counts, "_read_dags", forgetful)
    assert main(["assess", "--tasks", str(dag)]) == 1
    out = capsys.readouterr().out
    assert f"{dag}:18: ghost is neither carried nor reported" in out
    assert out.endswith("1 file, 4 tasks: 2 carried (50 %), 1 lost, 1 unreported\n")


def test_prints_totals_and_json(dag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assess", "--tasks", "--format", "json", str(dag)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"] == {"files": 1, "tasks": 3, "carried": 2, "lost": 1, "unreported": 0}
    assert [task["line"] for task in found["files"][0]["tasks"]] == [11, 17, 18]


def test_counts_the_tasks_of_a_file_that_cannot_be_imported(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(DAG.replace('DAG("mixed"', 'DAG(unknown("mixed")'))
    found = counted(file)
    assert [(task.name, task.state) for task in found.tasks] == [
        ("EmptyOperator", "lost"),
        ("double", "lost"),
    ]
    assert "NameError" in found.error


def test_rejects_targets(dag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assess", "--tasks", "--to", "prefect", str(dag)]) == 2
    assert "omit --to and --from" in capsys.readouterr().err


def test_finds_the_task_calls_of_flows(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(FLOW)
    other = "from prefect import task\n@task\ndef imported(x): ...\n"
    (tmp_path / "tasks_of_others.py").write_text(other)
    first = FLOW.splitlines().index("@flow") + 1
    sites = [(site.name, site.line - first) for site in flow_call_sites(file)]
    assert sites == [
        ("clean", -3),
        ("method", 2),
        ("load", 8),
        ("load", 9),
        ("clean", 10),
        ("imported", 13),
        ("print", 14),
        ("passed", 16),
    ]


def test_finds_the_operators_of_a_dag_file_in_its_syntax(dag: Path) -> None:
    assert [site.name for site in dag_call_sites(dag)] == ["EmptyOperator", "double"]
