"""One run in which some steps run side by side and others go wrong, each in its own way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import FAIL, HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import Desk, Running, eventually, marked

pytestmark = pytest.mark.slow
SECONDS = 6


@pytest.fixture(scope="module")
def run(desk: Desk) -> Running:
    """The run, ended, whose step Killed was killed."""
    release = desk.folder / "never"
    sleepers = [processing(f"Sleep{number}", SLEEP, str(SECONDS)) for number in range(3)]
    source = pipeline(
        *sleepers,
        processing("Killed", HOLD, str(release)),
        processing("AfterKilled", SLEEP, "0", after=["Killed"]),
        processing("AfterThat", SLEEP, "0", after=["AfterKilled", "Sleep0"]),
        processing("AfterSleep", SLEEP, "0", after=["Sleep0"]),
        processing("Missing", SLEEP, "0", source="s3://shells/2026/rings.csv"),
        processing("Broken", FAIL),
    )
    running = desk.run(desk.write("mishaps.json", source))
    held = eventually(lambda: in_job(str(release)), seconds=120)
    held.kill()
    assert running.wait() == 3, running.output
    return running


@pytest.fixture(scope="module")
def shown(desk: Desk, run: Running) -> Any:
    return desk.show(run.says(r"execution (\w{12})"))


def in_job(word: str) -> psutil.Process | None:
    """The job's own process, which has this word in its command line, not those around it."""
    return next((process for process in marked(word) if process.cmdline()[1] == "-c"), None)


def test_independent_steps_run_side_by_side(desk: Desk, run: Running) -> None:
    steps = desk.records.steps(run.says(r"execution (\w{12})"))
    times = [
        (datetime.fromisoformat(step["started"]), datetime.fromisoformat(step["ended"]))
        for name, step in steps.items()
        if name.startswith("Sleep")
    ]

    began, ended = zip(*times, strict=True)
    assert len(times) == 3
    assert max(began) < min(ended)
    assert (max(ended) - min(began)).total_seconds() < 2 * SECONDS


def test_a_killed_process_fails_its_step(shown: Any) -> None:
    step = shown["steps"]["Killed"]

    assert step["state"] == "Failed"
    assert "killed by SIGKILL" in step["reason"]
    assert shown["steps"]["AfterKilled"]["state"] == "NotRun"
    assert shown["steps"]["AfterThat"]["state"] == "NotRun"


def test_unrelated_steps_go_on(shown: Any) -> None:
    assert shown["steps"]["AfterSleep"]["state"] == "Succeeded"
    assert shown["status"] == "Failed"


def test_a_missing_input_is_named_with_where_it_was_looked_for(desk: Desk, shown: Any) -> None:
    step = shown["steps"]["Missing"]

    assert step["state"] == "Failed"
    assert "s3://shells/2026/rings.csv" in step["reason"]
    assert str(desk.home / "s3" / "shells") in step["reason"]


def test_a_failing_script_shows_its_last_lines_and_its_log(desk: Desk, shown: Any) -> None:
    step = shown["steps"]["Broken"]

    assert step["state"] == "Failed"
    assert "reading the shells\nValueError: a shell without rings" in step["reason"]
    assert "exit code: 1" in step["reason"]
    log = desk.home / "jobs" / "Processing" / step["job"] / "log"
    assert str(log) in step["reason"]
    assert "a shell without rings" in log.read_text()


def test_the_command_tells_every_failure_without_a_traceback(run: Running) -> None:
    said = run.output

    assert "result: Failed" in said
    for words in ("killed by SIGKILL", "s3://shells/2026/rings.csv", "a shell without rings"):
        assert words in said
    assert "Traceback" not in said


def test_the_logs_can_be_read_afterwards(desk: Desk, shown: Any) -> None:
    logs = desk.type("executions", "logs", shown["id"], "Broken")

    assert "reading the shells" in logs.stdout
