"""Deferred steps in ``dag.test``, which runs their triggers in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from tests.attempts import job_of
from tests.dagtest import FinishedRun, new_id, play
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import ARGUMENTS

TRAIN = Step("Train", "Training", arguments=plain(ARGUMENTS["Training"]))
Deferred = Callable[..., FinishedRun]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyAws]:
    from sagebridge_operators.airflow.deferral import poller

    monkeypatch.setattr(poller, "_TICK", 0.05)
    monkeypatch.setattr(poller, "_NEW", 0.1)
    monkeypatch.setattr(poller, "_SECONDS", 0.1)
    monkeypatch.setattr(poller, "_BACKENDS", {})
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    with FaultyAws() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def deferred(aws: FaultyAws) -> Deferred:
    """Runs the DAG of deferrable steps."""
    from sagebridge_operators.airflow import build

    del aws

    def runs(*steps: Step, **more: Any) -> FinishedRun:
        pipeline = Pipeline(steps=steps, name="deferred")
        given = {"deferrable": True, "aws_conn_id": None, "retry_delay": timedelta(), **more}
        return play(build(pipeline, dag_id=new_id(), **given))

    return runs


def test_deferred_step_gives_its_outputs(
    deferred: Deferred, aws: FaultyAws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.add_scripts(JobScript(looks=4))
    ran = deferred(TRAIN)
    assert ran.states == {"Train": "success"}
    assert ran.tries == {"Train": 1}
    name = job_of(ran.steps["Train"]).name
    assert ran.xcom("Train", "job_name") == name
    assert ran.rendered("Train")["request"]["TrainingJobName"] == name
    assert aws.count("CreateTrainingJob") == 1
    assert "in the triggerer, with" in capsys.readouterr().out


def test_deferred_job_stopped_elsewhere_fails_the_task(deferred: Deferred, aws: FaultyAws) -> None:
    aws.add_scripts(JobScript(statuses=("InProgress", "Stopping", "Stopped"), looks=2))
    ran = deferred(TRAIN)
    assert ran.states == {"Train": "failed"}
    assert ran.steps["Train"].state == "Stopped"
    assert aws.count("CreateTrainingJob") == 1
