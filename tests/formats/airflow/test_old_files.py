"""DAG files of Airflow 1.10 and 2, read without editing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import SourceError
from sagebridge.formats.airflow.old_names import MODULES, NAMES, RENAMED
from sagebridge.formats.airflow.reader import read_files
from sagebridge.model.code_steps import PythonStep
from tests.formats.airflow.conftest import Read

pytestmark = pytest.mark.airflow

OLD = """
from datetime import datetime, timedelta

import airflow
from airflow import DAG
from airflow.hooks.base_hook import BaseHook
from airflow.models import Variable
from airflow.operators import BashOperator
from airflow.operators.dummy_operator import (
    DummyOperator,
    DummyOperator as Nothing,  # twice
)
from airflow.operators.python_operator import BranchPythonOperator, PythonOperator
from airflow.utils.dates import days_ago
from airflow.utils.decorators import apply_defaults
from airflow.utils.helpers import chain


class Own(DummyOperator):
    @apply_defaults
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def choose(execution_date, **kwargs):
    host = BaseHook.get_connection("x").host or Variable.get("host")
    return "many" if host else "few"


args = {"provide_context": True, "retries": 1, "task_concurrency": 3}
with DAG(
    "old",
    default_args=args,
    schedule_interval="@daily",
    concurrency=4,
    start_date=datetime(2020, 1, 1),
    default_view="graph",
) as dag:
    start = DummyOperator(task_id="start")
    branch = BranchPythonOperator(task_id="branch", python_callable=choose, provide_context=True)
    many = BashOperator(task_id="many", bash_command="echo {{ yesterday_ds }}", xcom_push=True)
    few = Own(task_id="few", task_concurrency=1)
    end = Nothing(task_id="end", trigger_rule="none_failed_or_skipped")
    last = Nothing(task_id="last", trigger_rule="dummy")
    chain(start, branch, [many, few], end, last)
"""


def test_old_file_is_read_without_losses(read: Read) -> None:
    found = read(OLD)
    steps = {step.name: step for step in found.pipeline.steps}

    assert list(steps) == ["start", "branch", "many", "few", "end", "last"]
    assert steps["end"].engine.trigger_rule == "none_failed_min_one_success"
    assert steps["last"].engine.trigger_rule == "always"
    assert [step.engine.concurrency for step in steps.values()] == [3, 3, 3, 1, 3, 3]
    assert "max_active_tasks=4" in sagebridge.write(found.pipeline, "airflow").text
    assert [one.expression for one in found.pipeline.schedules] == ["cron(0 0 * * ? *)"]
    assert [loss for loss in found.losses if loss.severity != "info"] == []


MODULES_OF_FILE = """
from datetime import datetime

import airflow.operators.bash_operator as bash, os
import airflow.operators.python_operator
from airflow import DAG
from airflow.operators import dummy_operator, sql


def count():
    return 1


with DAG("old", "What it does.", "@daily", datetime(2020, 1, 1)) as dag:
    start = dummy_operator.DummyOperator(task_id="start")
    python = airflow.operators.python_operator.PythonOperator
    load = python(task_id="load", python_callable=count)
    many = bash.BashOperator.partial(
        task_id="many", task_concurrency=3, trigger_rule="none_failed_or_skipped"
    ).expand(bash_command=["echo 1", "echo 2"])
    start >> load >> many
"""


def test_old_modules_positional_arguments_and_mapped_tasks_are_read(read: Read) -> None:
    found = read(MODULES_OF_FILE)
    assert [loss.code for loss in found.losses if loss.severity != "info"] == []
    pipeline = found.pipeline
    assert [step.name for step in pipeline.steps] == ["start", "load", "many"]
    assert pipeline.description == "What it does."
    (schedule,) = pipeline.schedules
    assert (schedule.expression, schedule.start) == ("cron(0 0 * * ? *)", "2020-01-01T00:00:00Z")
    many = pipeline.steps[-1]
    assert many.engine.trigger_rule == "none_failed_min_one_success"
    assert many.inner[0].engine.concurrency == 3


def test_carried_code_imports_the_new_names(read: Read) -> None:
    (branch,) = (one for one in read(OLD).pipeline.steps if one.name == "branch")
    assert isinstance(branch, PythonStep)
    assert branch.context

    dag = sagebridge.write(read(OLD).pipeline, "airflow").text
    assert "from airflow.sdk.bases.hook import BaseHook" in dag
    flow = sagebridge.write(read(OLD).pipeline, "prefect").text
    assert "airflow_names import (\n    BaseHook" in flow
    assert "base_hook" not in dag + flow


def test_lines_stay_those_of_the_file(tmp_path: Path) -> None:
    lines = OLD.splitlines()
    file = tmp_path / "old.py"
    file.write_text(OLD)
    ((found,),) = read_files([file])  # type: ignore[misc]

    for name, line in found.lines.items():
        assert f'task_id="{name}"' in lines[line - 1], name


def test_start_of_days_ago_is_an_input(read: Read) -> None:
    text = OLD.replace("datetime(2020, 1, 1)", "days_ago(2)")
    other = OLD.replace("datetime(2020, 1, 1)", "airflow.utils.dates.days_ago(2)")

    for found in (read(text), read(other)):
        (loss,) = (one for one in found.losses if one.code == "import-input")
        assert "a schedule depends on dates.days_ago(), read on import" in loss.what


def test_names_without_a_new_one_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "old.py"
    added = "from airflow.operators.subdag_operator import SubDagOperator\nimport airflow.plugins\n"
    added += "from airflow.hooks.postgres_hook import PostgresHook\n"
    file.write_text(added + OLD)
    (error,) = read_files([file])

    assert isinstance(error, SourceError)
    assert str(error) == (
        f"{file}:1: imports what the installed Airflow does not have: "
        "line 1: airflow.operators.subdag_operator.SubDagOperator (use a TaskGroup); "
        "line 2: airflow.plugins (AIR301); "
        "line 3: airflow.providers.postgres.hooks.postgres.PostgresHook "
        "(install apache-airflow-providers-postgres); change it for Airflow 3; "
        "`ruff check --select AIR old.py` lists what has to change"
    )


def test_names_of_the_table_exist() -> None:
    renamed = set(RENAMED.values())
    offered: set[str] = set()
    for module in {*MODULES.values()}:
        if _is_installed(module):
            offered |= vars(import_module(module)).keys()
    for module, _, name in (full.rpartition(".") for full in NAMES.values()):
        if _is_installed(module):
            assert hasattr(import_module(module), name), f"{module}.{name}"
    assert renamed - offered <= {"GlueCrawlerOperator", "GlueJobOperator"}


def _is_installed(module: str) -> bool:
    """False for modules of a provider that is not installed."""
    provider = ".".join(module.split(".")[: 4 if ".common." in module else 3])
    return find_spec(provider) is not None
