"""Operators and sensors of the user, carried with their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.model.code_steps import PythonStep, StubStep
from sagebridge.model.expressions import Template
from tests.formats.airflow.conftest import Read

pytestmark = pytest.mark.airflow
FILE = """
from airflow.models import BaseOperator
from airflow.sdk import DAG
from airflow.sensors.base import BaseSensorOperator

SUFFIX = "!"


class Greet(BaseOperator):
    template_fields = ("name",)

    def __init__(self, name: str, raw: str = "", **kwargs) -> None:
        super().__init__(**kwargs)
        self.name, self.raw = name, raw

    def execute(self, context):
        return f"{self.name}{SUFFIX}"  # loud


class Ready(BaseSensorOperator):
    def poke(self, context):
        return True


class Waits(BaseOperator):
    def execute(self, context):
        self.defer(trigger=None, method_name="done")


class Computes(BaseOperator):
    template_fields = ("path",)

    def __init__(self, bucket: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.path = f"s3://{bucket}"

    def execute(self, context):
        return self.path


class Overrides(Ready):
    def execute(self, context):
        super().execute(context)


with DAG("custom", schedule=None, default_args={"name": "all"}):
    ready = Ready(task_id="ready", poke_interval=5)
    ready >> Greet(task_id="greet", name="{{ ds }}", raw="{{ ds }}", retries=2)
"""
LOST = """
    Waits(task_id="waits")
    Computes(task_id="computes", bucket="{{ ds }}")
    Overrides(task_id="overrides")
"""


def test_operators_and_sensors_are_carried_both_ways(read: Read, tmp_path: Path) -> None:
    reading = read(FILE)
    assert not [loss for loss in reading.losses if loss.severity != "info"]
    ready, greet = reading.pipeline.steps
    assert isinstance(ready, PythonStep)
    assert isinstance(greet, PythonStep)
    assert (ready.role, ready.engine.poll_interval) == ("sensor", 5)
    assert greet.arguments["kwargs"] == {"name": Template("{{ ds }}"), "raw": "{{ ds }}"}
    assert greet.engine.retries == 2
    text, losses = sagebridge.write(reading.pipeline, "prefect")
    assert losses == ()
    assert 'return f"{self.name}{SUFFIX}"  # loud' in text
    assert "airflow_names import BaseOperator  # airflow.models" in text
    flow = tmp_path / "flow.py"
    flow.write_text(text)
    back, losses = sagebridge.read(flow)
    assert losses == ()
    assert back == reading.pipeline


def test_classes_that_need_more_of_airflow_are_losses(read: Read) -> None:
    reading = read(FILE + LOST)
    lost = [(loss.place.rpartition(":")[2], loss.what.split(": ")[1]) for loss in reading.losses]
    assert lost == [
        ("50", "it waits in the triggerer (self.defer), so the task is dropped"),
        ("51", "it renders path, which its class makes of its arguments, so the task is dropped"),
        ("52", "it overrides execute of BaseSensorOperator, so the task is dropped"),
    ]
    assert len([one for one in reading.pipeline.steps if isinstance(one, StubStep)]) == 3
