"""The standard suite on Airflow: one DAG run per case, with one task per job type.

Each case runs in workers. Cases in which a job is looked at also run deferred, with their triggers
in the same process.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import build
from sagebridge_operators.airflow.aws_clients import AwsConnection
from sagebridge_operators.airflow.deferral import poller, trigger
from sagebridge_operators.airflow.deferral.poller import Poller
from sagebridge_operators.steps import JOB_TYPES
from tests.clock import Clock
from tests.dagtest import new_id, play
from tests.standard.cases import CASES, Case
from tests.standard.samples import TEXT
from tests.standard.world import Outcome, World

pytestmark = pytest.mark.airflow
_STATES = {"Succeeded": "success"}
_WORKER_ONLY = ("creat", "answer", "refused", "cache", "missing", "not-matched", "Step.")
"""Parts of the names of cases that are over before a job is looked at, or differ in no look."""
RUNS = [
    pytest.param(case, deferrable, id=f"{case.name}-{'deferred' if deferrable else 'worker'}")
    for case in CASES
    for deferrable in (False, True)
    if not (deferrable and any(part in case.name for part in _WORKER_ONLY))
]


@pytest.mark.parametrize(("case", "deferrable"), RUNS)
def test_case(case: Case, deferrable: bool, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = world.backend()
    monkeypatch.setattr(AwsConnection, "backend", lambda connection: backend)
    patch_triggerer(monkeypatch, world.clock)
    steps = tuple(step for sample in case.samples() for step in world.arrange(case, sample))
    pipeline = Pipeline(steps=steps, parameters=(TEXT,), name="standard")
    given: dict[str, Any] = {"backend": "aws", "deferrable": deferrable}
    dag = build(pipeline, dag_id=new_id("standard"), retry_delay=timedelta(), **given)
    for value in case.values:
        played = play(dag, {TEXT.name: value})

    def outcome(step: str) -> Outcome:
        attempt = played.steps[step]
        assert played.states[step] == _STATES.get(attempt.state, "failed")
        return Outcome.of(attempt, played.xcom(step, "failure_reason") or "", played.xcom(step))

    world.check_all(case, {step.name: outcome(step.name) for step in steps})


def patch_triggerer(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Let time pass at once in triggers, too."""

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        await asyncio.sleep(0)

    def poller_of(connection: AwsConnection, type_: str) -> Poller:
        return Poller(JOB_TYPES[type_], connection.backend(), pause=sleep, clock=clock.time)

    for name, seconds in {"_TICK": 300.0, "_SECONDS": 3600.0, "_LONGEST": 3600.0}.items():
        monkeypatch.setattr(poller, name, seconds)
    monkeypatch.setattr(poller, "poller_of", poller_of)
    monkeypatch.setattr(poller, "backend_of", AwsConnection.backend)
    monkeypatch.setattr(trigger, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
    clock.patch(monkeypatch, (trigger,))
