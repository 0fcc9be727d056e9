"""Selected steps with a given value, then a retry, with the real command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.definitions import at_most, evaluation, pipeline, processing, reported
from tests.e2e.desk import Desk

pytestmark = pytest.mark.slow
NEEDS = "import os, sys; sys.exit(not os.path.exists(sys.argv[1]) and 'no file')"


def on(step: str, trigger: str) -> dict[str, str]:
    return {"Step": step, "Trigger": trigger}


def triggered(name: str, *after: object) -> dict[str, Any]:
    return processing(name, "pass") | {"DependsOn": list(after)}


def test_selected_steps_are_retried(tmp_path: Path) -> None:
    """The condition needs no evaluation job; the retry keeps its outcome."""
    desk, flag = Desk(tmp_path), tmp_path / "flag"
    desk.write("report.json", {"mse": 4.5})
    use, other = processing("Use", NEEDS, str(flag)), processing("Other", "pass")
    check = at_most("Check", reported("Eval", "mse"), 5, [use], [other])
    after = processing("After", "pass", after=["Use"])
    handlers = [
        triggered("Alert", on("Use", "Failed")),
        triggered("Rescue", "Check", on("Use", "Failed")),
        triggered("Resume", on("Use", "Stopped")),
        triggered("Final", on("After", "Any")),
    ]
    steps = (evaluation("Eval", {"mse": 9}), check, after, *handlers)
    source = desk.write("p.json", pipeline(*steps))
    value = "Steps.Eval.PropertyFiles.Report=report.json"

    selected = "Check,Use,Other,After,Alert,Rescue,Resume,Final"
    ran = desk.run(source, "--steps", selected, "--value", value)
    assert ran.wait() == 3, ran.output
    assert "\nresult: CompletedWithFailures\n" in ran.output
    first = desk.show(ran.execution)
    flag.touch()
    source.unlink()  # the record has the pipeline
    again = desk.start("executions", "retry", ran.execution)
    assert again.wait() == 0, again.output
    last = desk.show(ran.execution)

    assert {name: one["state"] for name, one in first["steps"].items()} == {
        "Check": "Succeeded",
        "Use": "Failed",
        "Other": "Skipped",
        "After": "NotRun",
        "Alert": "Succeeded",
        "Rescue": "Succeeded",
        "Resume": "Skipped",
        "Final": "Succeeded",
    }
    assert first["status"] == "CompletedWithFailures"
    assert first["selection"]["origins"]["Eval"] == {"type": "Processing", "execution": ""}
    assert {name: one["state"] for name, one in last["steps"].items()} == {
        "Check": "Succeeded",
        "Use": "Succeeded",
        "Other": "Skipped",
        "After": "Succeeded",
        "Alert": "Skipped",
        "Rescue": "Skipped",
        "Resume": "Skipped",
        "Final": "Succeeded",
    }
    assert last["status"] == "Succeeded"
    assert first["steps"]["Check"]["seconds"] == last["steps"]["Check"]["seconds"]
    jobs = {one["job"] for view in (first, last) for one in view["steps"].values() if one["job"]}
    assert len(jobs) == 3 + 4  # Final ran because of the failure, so it runs again
    assert desk.records.ids() == [ran.execution]
