"""The standard suite on Airflow: one DAG run per case, with one task per job type."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import aws_clients, build
from tests.dagtest import new_id, play
from tests.standard.cases import CASES, Case
from tests.standard.samples import TEXT
from tests.standard.world import Outcome, World

pytestmark = pytest.mark.airflow
_STATES = {"Succeeded": "success"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = world.backend()
    monkeypatch.setattr(aws_clients, "open_backend", lambda name: backend)
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "faulty")
    steps = tuple(step for sample in case.samples() for step in world.arrange(case, sample))
    pipeline = Pipeline(steps=steps, parameters=(TEXT,), name="standard")
    dag = build(pipeline, dag_id=new_id("standard"), retry_delay=timedelta())
    for value in case.values:
        played = play(dag, {TEXT.name: value})

    def outcome(step: str) -> Outcome:
        attempt = played.steps[step]
        assert played.states[step] == _STATES.get(attempt.state, "failed")
        return Outcome.of(attempt, played.xcom(step, "failure_reason") or "", played.xcom(step))

    world.check_all(case, {step.name: outcome(step.name) for step in steps})
