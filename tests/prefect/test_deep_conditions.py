"""A flow whose deepest branches are not nested blocks runs as its definition says."""

from __future__ import annotations

import pytest

from sagebridge.model.pipeline import Step
from tests.prefect.conftest import Run
from tests.shapes import FALSE, TRUE, branch, model

pytestmark = pytest.mark.prefect

DEPTH = 21


@pytest.mark.parametrize("not_met", [0, 12])
def test_deep_branches_run_and_are_skipped(not_met: int, run: Run) -> None:
    """All conditions hold; or that of level 12 does not, and all below it are skipped."""
    step: Step = model("Innermost")
    for level in range(DEPTH, 0, -1):
        condition = FALSE if level == not_met else TRUE
        step = branch(f"C{level}", condition, step, otherwise=(model(f"Else{level}"),))
    played = run(step, model("After", "Innermost"), model("Aside"))
    reached = not_met or DEPTH
    completed = {f"C{level}" for level in range(1, reached + 1)} | {"Aside"}
    completed |= {f"Else{not_met}"} if not_met else {"Innermost", "After"}
    assert {name for name, state in played.states.items() if state == "Completed"} == completed
    assert set(played.states.values()) == {"Completed", "Skipped"}
    assert len(played.states) == 2 * DEPTH + 3
    assert played.state.is_completed()
