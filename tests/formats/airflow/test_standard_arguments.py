"""No argument of an operator of the standard provider is dropped without a loss."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from sagebridge import write
from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading
from tests.formats.airflow.conftest import HEAD

pytestmark = pytest.mark.airflow

OPERATORS = {
    "operators.bash.BashOperator": {"bash_command": "'date'", "env": "{'B': 'c'}"},
    "operators.datetime.BranchDateTimeOperator": {
        "follow_task_ids_if_true": "'yes'",
        "follow_task_ids_if_false": "'no'",
        "target_lower": "time(9)",
        "target_upper": "time(17)",
    },
    "operators.python.PythonOperator": {"python_callable": "used"},
    "operators.python.BranchPythonOperator": {"python_callable": "used"},
    "operators.python.ShortCircuitOperator": {"python_callable": "used"},
    "operators.python.PythonVirtualenvOperator": {"python_callable": "used"},
    "operators.python.ExternalPythonOperator": {"python": "'/opt/p'", "python_callable": "used"},
    "operators.trigger_dagrun.TriggerDagRunOperator": {
        "trigger_dag_id": "'other'",
        "wait_for_completion": "True",
    },
    "operators.weekday.BranchDayOfWeekOperator": {
        "follow_task_ids_if_true": "'yes'",
        "follow_task_ids_if_false": "'no'",
        "week_day": "'Monday'",
    },
    "sensors.bash.BashSensor": {"bash_command": "'date'"},
    "sensors.date_time.DateTimeSensor": {"target_time": "datetime(2030, 1, 1, tzinfo=UTC)"},
    "sensors.external_task.ExternalTaskSensor": {"external_dag_id": "'other'"},
    "sensors.filesystem.FileSensor": {"filepath": "'/data/x'"},
    "sensors.python.PythonSensor": {"python_callable": "used"},
    "sensors.time.TimeSensor": {"target_time": "time(9)"},
    "sensors.time_delta.TimeDeltaSensor": {"delta": "timedelta(hours=1)"},
    "sensors.time_delta.WaitSensor": {"time_to_wait": "timedelta(hours=1)"},
    "sensors.weekday.DayOfWeekSensor": {"week_day": "'Monday'"},
}
"""The operators that both engines run, with the arguments that they need."""
SAMPLES = {
    "DateTimeSensor target_time": "datetime(2031, 1, 1, tzinfo=UTC)",
    "allowed_states": "['failed']",
    "append_env": "True",
    "bash_command": "'other'",
    "check_existence": "True",
    "conf": "{'a': 1}",
    "cwd": "'/data'",
    "deferrable": "True",
    "delta": "timedelta(hours=2)",
    "env": "{'A': 'b'}",
    "env_vars": "{'A': 'b'}",
    "execution_date_fn": "used",
    "execution_delta": "timedelta(hours=1)",
    "expect_airflow": "False",
    "expect_pendulum": "True",
    "exponential_backoff": "True",
    "external_dag_id": "'third'",
    "external_task_group_id": "'group'",
    "external_task_id": "'t'",
    "external_task_ids": "['t', 'u']",
    "fail_when_dag_is_paused": "True",
    "failed_states": "['queued']",
    "filepath": "'/data/y'",
    "follow_task_ids_if_false": "'yes'",
    "follow_task_ids_if_true": "'no'",
    "fs_conn_id": "'disk'",
    "ignore_downstream_trigger_rules": "False",
    "index_urls": "['https://index.example']",
    "index_urls_from_connection_ids": "['index']",
    "inherit_env": "False",
    "logical_date": "datetime(2030, 1, 1, tzinfo=UTC)",
    "max_wait": "timedelta(hours=1)",
    "note": "'a note'",
    "op_args": "[1]",
    "op_kwargs": "{'a': 1}",
    "output_encoding": "'latin-1'",
    "output_processor": "json.loads",
    "pip_install_options": "['--no-deps']",
    "poke_interval": "7",
    "poll_interval": "7",
    "python": "'/opt/q'",
    "python_callable": "other",
    "python_version": "'3.12'",
    "recursive": "True",
    "requirements": "['pandas']",
    "reset_dag_run": "True",
    "retry_exit_code": "3",
    "run_after": "datetime(2030, 1, 1, tzinfo=UTC)",
    "serializer": "'cloudpickle'",
    "skip_on_exit_code": "5",
    "skip_when_already_exists": "True",
    "skipped_states": "['queued']",
    "soft_fail": "True",
    "string_args": "['a']",
    "system_site_packages": "False",
    "target_lower": "time(8)",
    "target_time": "time(10)",
    "target_upper": "time(18)",
    "templates_dict": "{'a': '{{ ds }}'}",
    "time_to_wait": "timedelta(hours=2)",
    "timeout": "60",
    "trigger_dag_id": "'third'",
    "trigger_run_id": "'run'",
    "use_task_logical_date": "True",
    "venv_cache_path": "'/opt/cache'",
    "wait_for_completion": "False",
    "week_day": "'Tuesday'",
}
"""A value of each argument that is not its default."""
NO_EFFECT = {
    "end_from_trigger": "how a sensor waits in the triggerer",
    "expect_airflow": "a warning if Airflow is not installed there",
    "expect_pendulum": "a warning if pendulum is not installed there",
    "kwargs_to_upstream": "what a decorator passes to itself",
    "mode": "whether a worker waits",
    "never_fail": "deprecated",
    "openlineage_inject_parent_info": "lineage",
    "show_return_value_in_logs": "logs",
    "silent_fail": "logs of a sensor",
    "start_from_trigger": "how a sensor waits in the triggerer",
    "templates_exts": "template files are read",
    "trigger_kwargs": "how a sensor waits in the triggerer",
}
"""Arguments without an effect on the result of a task, with their subject."""
IMPORTS = """
import json
from datetime import UTC, datetime, time, timedelta

def used(a=0, templates_dict=None):
    return "yes"

def other(a=0):
    return "no"

"""


def names_of(path: str) -> Iterator[str]:
    """The arguments of an operator that not every operator has."""
    from airflow.sdk import BaseOperator

    module, _, name = path.rpartition(".")
    cls = getattr(import_module(f"airflow.providers.standard.{module}"), name)
    common = inspect.signature(BaseOperator.__init__).parameters
    found: dict[str, Any] = {}
    for one in cls.__mro__[: cls.__mro__.index(BaseOperator)]:
        if "__init__" in vars(one):
            found |= inspect.signature(one.__init__).parameters
    for one in found.values():
        if one.name not in common and one.kind is not one.VAR_KEYWORD:
            yield one.name


def dags_of(path: str) -> str:
    """A file with a DAG for each argument of an operator, and one without."""
    module, _, operator = path.rpartition(".")
    text = f"{HEAD}{IMPORTS}from airflow.providers.standard.{module} import {operator}\n"
    for name in ("", *names_of(path)):
        sample = SAMPLES.get(f"{operator} {name}", SAMPLES.get(name))
        given = {**OPERATORS[path], **({name: sample} if sample else {})}
        arguments = "".join(f", {one}={value}" for one, value in given.items())
        text += f"with DAG('d_{name}', schedule=None):\n"
        text += "    after = [BashOperator(task_id=i, bash_command='x') for i in ('yes', 'no')]\n"
        text += f"    {operator}(task_id='one'{arguments}) >> after\n"
    return text


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, FileReading]]:
    """The DAGs of each operator by name."""
    folder = tmp_path_factory.mktemp("operators")
    files = {path: folder / f"{path}.py" for path in OPERATORS}
    for path, file in files.items():
        file.write_text(dags_of(path))
    outcomes = zip(OPERATORS, read_files(list(files.values())), strict=True)
    found = {}
    for path, outcome in outcomes:
        assert not isinstance(outcome, SourceError), outcome
        found[path] = {one.name: one for one in outcome}
    return found


@pytest.mark.parametrize("path", OPERATORS)
def test_argument_of_a_standard_operator_is_carried_or_reported(
    path: str, readings: dict[str, dict[str, FileReading]]
) -> None:
    wanted = [name for name in names_of(path) if name not in NO_EFFECT]
    assert set(wanted) <= set(SAMPLES)
    found = readings[path]
    plain = meaning(found["d_"])
    assert [name for name in wanted if meaning(found[f"d_{name}"]) == plain] == []


def meaning(reading: FileReading) -> tuple[str, list[tuple[str, str]]]:
    """The flow of a DAG, and its losses."""
    flow = write(reading.pipeline, "prefect").text.replace(reading.name, "d")
    return flow, [(one.code, one.what) for one in reading.losses]
