"""Tasks that run in a virtual environment or in an external Python."""

from __future__ import annotations

import pytest

import sagebridge
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.pipeline import Pipeline
from tests.formats.airflow.conftest import HEAD, Read, ReadAll

pytestmark = pytest.mark.airflow

DAG = (
    HEAD
    + '''
import sys
from airflow.providers.standard.operators.python import (
    ExternalPythonOperator,
    PythonVirtualenvOperator,
)

LIMIT = 3
PYTHON = sys.executable


def report(rows: int, ds=None) -> str:
    """Writes a report."""
    import json  # exists everywhere

    return json.dumps([rows, ds])


def older():
    return 9


def limited():
    return LIMIT


with DAG("environments", schedule=None):

    @task.virtualenv(requirements=["colorama==0.4.0"], system_site_packages=False)
    def colour():
        from colorama import Fore

        return Fore.RED

    @task.branch_external_python(python="/opt/python3.12")
    def pick(text: str):
        return ["new"] if text else []

    @task.external_python(python=PYTHON)
    def same():
        return 1

    new = PythonVirtualenvOperator(
        task_id="new",
        python_callable=report,
        op_kwargs={"rows": 5},
        requirements=["pandas==2.2.3", "pyarrow==18.0.0", "scikit-learn==1.6.0"],
        python_version="3.12",
        skip_on_exit_code=7,
    )
    old = ExternalPythonOperator(task_id="old", python="/opt/python3.9", python_callable=older)
    pick(colour()) >> [new, old]
    same()
    ExternalPythonOperator(task_id="limited", python="/opt/p", python_callable=limited)
    PythonVirtualenvOperator(task_id="strings", python_callable=report, string_args=["a"])
'''
)


@pytest.fixture(scope="module")
def found(read_all: ReadAll) -> FileReading:
    return read_all(DAG)["environments"]


def steps_of(pipeline: Pipeline) -> dict[str, PythonStep]:
    return {step.name: step for step in pipeline.steps if isinstance(step, PythonStep)}


def test_functions_get_a_decorator(found: FileReading) -> None:
    steps = steps_of(found.pipeline)
    assert set(steps) == {"colour", "pick", "new", "old", "same"}
    assert steps["new"].function.module == (
        "from sagebridge_operators.functions.environments import in_virtualenv\n\n\n"
        "@in_virtualenv(\n"
        '    requirements=["pandas==2.2.3", "pyarrow==18.0.0", "scikit-learn==1.6.0"],\n'
        '    python_version="3.12",\n'
        "    skip_on_exit_code=[7],\n"
        ")\n"
        "def report(rows: int, ds=None) -> str:\n"
        '    """Writes a report."""\n'
        "    import json  # exists everywhere\n"
        "\n"
        "    return json.dumps([rows, ds])"
    )
    assert '@in_python(python="/opt/python3.12")\ndef pick(' in steps["pick"].function.module
    assert "@in_python()\ndef same(" in steps["same"].function.module
    assert (steps["pick"].role, steps["new"].context) == ("branch", True)


def test_unsupported_options_are_losses(found: FileReading) -> None:
    losses = [one.what for one in found.losses if one.severity == "dropped"]
    assert [one.partition(": ")[2].split(",")[0] for one in losses] == [
        "it uses names of its module",
        "it has string_args",
    ]


def test_decorated_functions_come_back(found: FileReading, read: Read) -> None:
    pipeline = found.pipeline
    written, _ = sagebridge.write(pipeline, "airflow")
    again = read(written)
    assert steps_of(again.pipeline) == steps_of(pipeline)
