"""Flows whose deepest branches are not nested blocks run and are traced as their pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.authoring.definition_writer import definition
from sagebridge.formats.prefect.tracer import trace
from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline, Step, Steps
from sagebridge.model.values import same
from tests.prefect.conftest import Run
from tests.shapes import FALSE, TRUE, branch, model

pytestmark = pytest.mark.prefect

DEPTH = 21


def deep_steps(depth: int, not_met: int = 0) -> Steps:
    """Conditions in each other that hold, apart from that of level ``not_met``."""
    step: Step = model("Innermost")
    for level in range(depth, 0, -1):
        condition = FALSE if level == not_met else TRUE
        step = branch(f"C{level}", condition, step, otherwise=(model(f"Else{level}"),))
    return (step, model("After", "Innermost"), model("Aside"))


@pytest.mark.parametrize("not_met", [0, 12])
def test_deep_branches_run_and_are_skipped(not_met: int, run: Run) -> None:
    played = run(*deep_steps(DEPTH, not_met))
    reached = not_met or DEPTH
    completed = {f"C{level}" for level in range(1, reached + 1)} | {"Aside"}
    completed |= {f"Else{not_met}"} if not_met else {"Innermost", "After"}
    assert {name for name, state in played.states.items() if state == "Completed"} == completed
    assert set(played.states.values()) == {"Completed", "Skipped"}
    assert len(played.states) == 2 * DEPTH + 3
    assert played.state.is_completed()


@pytest.mark.parametrize("depth", [9, 31, 60])
def test_tracer_reads_deep_branches(depth: int, tmp_path: Path) -> None:
    pipeline = Pipeline(steps=deep_steps(depth), name="deep")
    file = tmp_path / "deep.py"
    file.write_text(write(pipeline)[0])
    ((traced, losses),) = trace(file)
    assert same(definition(traced), definition(pipeline))
    assert losses == ()
