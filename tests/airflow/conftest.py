"""Runs small pipelines as DAGs against the fake SageMaker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.pipeline import Pipeline, Step
from tests.dagtest import FinishedRun, new_id, play
from tests.fakes import FakeBackend, FakeSageMaker

collect_ignore_glob = [] if find_spec("airflow") else ["*"]

Run = Callable[..., FinishedRun]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeBackend:
    """The backend of every task of the test."""
    from sagebridge_operators.airflow import aws_clients
    from sagebridge_operators.lifecycle import drive

    monkeypatch.setattr(drive, "PATIENCE", 0.0)
    fake = FakeBackend()
    monkeypatch.setattr(aws_clients, "open_backend", lambda name: fake)
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "fake")
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(tmp_path / "executions"))
    return fake


@pytest.fixture
def aws(backend: FakeBackend) -> FakeSageMaker:
    return backend.sagemaker


@pytest.fixture
def run(backend: FakeBackend) -> Run:
    """Builds the DAG of a pipeline, or of steps, and runs it."""
    from sagebridge_operators.airflow import build

    del backend

    def runs(*steps: Step | Pipeline, conf: Any = None, **more: Any) -> FinishedRun:
        if isinstance(steps[0], Pipeline):
            (pipeline,) = steps
        else:
            pipeline = Pipeline(steps=tuple(steps), name="shape", **more)  # type: ignore[arg-type]
        assert isinstance(pipeline, Pipeline)
        return play(build(pipeline, dag_id=new_id(), retry_delay=timedelta()), conf)

    return runs
