"""A flow file with functions and commands of a user's own, run on either engine."""

from __future__ import annotations

import json

import pytest

from tests.code import FLOW, PATH, REASON, STATES
from tests.e2e.desk import Desk, Running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, Running]:
    """One run with enough rows, one with too few, at the same time."""
    words = {"rows": (), "few": ("-p", "rows=1", "--format", "json")}
    return {
        name: desk.run(desk.write(f"{name}.py", FLOW.replace("NAME", name)), *more)
        for name, more in words.items()
    }


def test_code_runs_and_is_told_of_as_any_step(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["rows"]
    assert running.wait() == 0, running.output
    assert "warning" not in running.output
    shown = desk.show(running.execution)
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert {one: state for one, state in states.items() if state != "Succeeded"} == STATES[10]
    model = desk.sagemaker.describe_model(ModelName=shown["steps"]["model"]["job"])
    assert model["PrimaryContainer"]["ModelDataUrl"] == PATH


def test_code_that_fails_fails_the_execution(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["few"]
    assert running.wait() == 3, running.output
    assert "Traceback" not in running.output
    shown = desk.show(running.execution)
    assert shown["reason"] == f"step 'checked' failed: {REASON}"
    assert shown["steps"]["last"]["state"] == "NotRun"
    told = json.loads(running.stdout)
    assert (told["status"], told["reason"]) == ("Failed", shown["reason"])
    assert told["steps"] == list(shown["steps"].values())
    (failed,) = (step for step in told["steps"] if step["state"] == "Failed")
    assert (failed["name"], failed["reason"]) == ("checked", REASON)
