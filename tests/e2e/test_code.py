"""A flow file with Python functions and shell commands, on both engines."""

from __future__ import annotations

import json

import pytest

from tests.code import FLOW, PATH, REASON, STATES
from tests.e2e.desk import Desk, RunningCommand

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, RunningCommand]:
    """Two parallel runs: one with enough rows, one with too few."""
    words = {"rows": (), "few": ("-p", "rows=1", "--format", "json")}
    return {
        name: desk.run(desk.write(f"{name}.py", FLOW.replace("NAME", name)), *more)
        for name, more in words.items()
    }


def test_code_steps_run_and_are_recorded(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["rows"]
    assert running.wait() == 0, running.output
    assert "warning" not in running.output
    shown = desk.show(running.execution)
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert {one: state for one, state in states.items() if state != "Succeeded"} == STATES[10]
    model = desk.sagemaker.describe_model(ModelName=shown["steps"]["model"]["job"])
    assert model["PrimaryContainer"]["ModelDataUrl"] == PATH


def test_failing_code_fails_the_execution(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["few"]
    assert running.wait() == 3, running.output
    assert "Traceback" not in running.output
    shown = desk.show(running.execution)
    assert shown["reason"] == f"step 'checked' failed: {REASON}"
    assert shown["steps"]["last"]["state"] == "NotRun"
    result = json.loads(running.stdout)
    assert (result["status"], result["reason"]) == ("Failed", shown["reason"])
    assert result["steps"] == list(shown["steps"].values())
    (failed,) = (step for step in result["steps"] if step["state"] == "Failed")
    assert (failed["name"], failed["reason"]) == ("checked", REASON)
