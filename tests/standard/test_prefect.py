"""The standard suite on Prefect: one flow run per case, with one task per job type."""

from __future__ import annotations

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Parallelism, Pipeline
from sagebridge_operators.prefect import flow_backends, step_tasks
from tests.prefect.conftest import Run, flow_of
from tests.standard.cases import CASES, Case
from tests.standard.samples import TEXT
from tests.standard.world import Outcome, World

pytestmark = pytest.mark.prefect
_STATES = {"Succeeded": "Completed"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, world: World, play: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = world.backend()
    monkeypatch.setattr(flow_backends, "open_backend", lambda name: backend)
    monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "faulty")
    steps = tuple(step for sample in case.samples() for step in world.arrange(case, sample))
    # One at a time: the waits of a step move the clock of all.
    pipeline = Pipeline(
        name=f"standard-{case.name}",
        steps=steps,
        parameters=(TEXT,),
        parallelism=Parallelism(1),
    )
    flow = flow_of(write(pipeline)[0])
    for value in case.values:
        played = play(flow, {TEXT.name: value})

    def outcome(step: str) -> Outcome:
        attempt = played.steps[step]
        hit = attempt.end is not None and attempt.end.cached_from
        assert played.states[step] == (
            "Cached" if hit else _STATES.get(attempt.state, attempt.state)
        )
        message = "" if attempt.state == "Succeeded" else played.messages[step]
        return Outcome.of(attempt, message, attempt.outputs)

    world.check_all(case, {step.name: outcome(step.name) for step in steps})
