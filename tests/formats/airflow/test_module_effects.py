"""Statements of a DAG file that act on the process: they are carried, or they are losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read
from sagebridge.formats.prefect.writer import write
from tests.formats.airflow.conftest import HEAD

pytestmark = pytest.mark.airflow
EFFECTS = """
import logging
import os
from os import environ

STAGE = "prod"
DEFAULTS = {"retries": 1}
DEFAULTS["retries"] = 2
try:
    import tomllib
except ImportError:
    logging.warning("no tomllib")
os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"
if STAGE == "prod":
    environ.setdefault("STAGE", STAGE)
"""
NESTED = """
@dag(schedule=None, default_args=DEFAULTS)
def d():
    @task
    def region():
        import boto3
        return boto3.client("s3").meta.region_name
    region()
d()
"""
SHELL = """
with DAG("d", schedule=None, default_args=DEFAULTS):
    BashOperator(task_id="copy", bash_command="aws s3 ls")
if __name__ == "__main__":
    os.environ["X"] = "y"
"""


def test_statements_of_the_module_are_carried_for_nested_tasks(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(HEAD + "from airflow.sdk import dag\n" + EFFECTS + NESTED)
    pipeline, losses = read(str(file))
    assert not losses
    text, _ = write(pipeline)
    assert 'os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"\n' in text
    assert '\nif STAGE == "prod":\n    environ.setdefault("STAGE", STAGE)\n' in text


def test_statements_of_the_module_are_losses_without_code(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(source := HEAD + EFFECTS + SHELL)
    _, losses = read(str(file))
    assert {(one.code, one.severity) for one in losses} == {("module-statement", "changed")}
    lines = [source.splitlines()[int(one.place.rpartition(":")[2]) - 1] for one in losses]
    assert lines == ['os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"', 'if STAGE == "prod":']


REGISTERED = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import FailOperator, register_lambda as use

def notify(event, context):
    return event

use("notify", notify)
with DAG("d", schedule=None):
    FailOperator(task_id="Stop", error_message="x")
"""


def test_handler_of_a_lambda_function_is_a_loss(tmp_path: Path) -> None:
    file = tmp_path / "dag.py"
    file.write_text(REGISTERED)
    _, (loss,) = read(str(file))
    assert (loss.code, loss.severity, loss.place) == ("module-statement", "changed", f"{file}:8")
