"""One run with parallel, skipped and failing steps, and the states that its engine records."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import (
    FAIL,
    HOLD,
    SLEEP,
    at_most,
    evaluation,
    fail,
    pipeline,
    processing,
    reported,
)
from tests.e2e.desk import ENGINE, Desk, RunningCommand, eventually, marked
from tests.e2e.engines import page_of, state, tasks, worker

pytestmark = [pytest.mark.slow, pytest.mark.airflow31]
SECONDS = 6
STATES = {
    "Sleep0": "Succeeded",
    "Sleep1": "Succeeded",
    "Sleep2": "Succeeded",
    "Killed": "Failed",
    "Lost": "Succeeded",
    "AfterKilled": "NotRun",
    "AfterThat": "NotRun",
    "AfterSleep": "Succeeded",
    "Missing": "Failed",
    "Broken": "Failed",
    "Eval": "Succeeded",
    "Gate": "Succeeded",
    "Inner": "Succeeded",
    "Worse": "Skipped",
    "Better": "Succeeded",
    "Bad": "Skipped",
    "AfterInner": "Succeeded",
    "AfterWorse": "Skipped",
}
WORDS = {
    "airflow": {
        "Succeeded": "success",
        "Failed": "failed",
        "Skipped": "skipped",
        "NotRun": "upstream_failed",
    },
    "prefect": {"Succeeded": "Completed"},
}[ENGINE]


Made = dict[str, str]


@pytest.fixture(scope="module")
def finished(desk: Desk) -> tuple[RunningCommand, str, Made]:
    """The ended run with a killed job and a lost worker, and the engine's states."""
    release, lost = desk.folder / "never", desk.folder / "lost"
    mse = reported("Eval", "m.mse")
    inner = at_most(
        "Inner", mse, 1, [processing("Worse", SLEEP, "0")], [processing("Better", SLEEP, "0")]
    )
    sleepers = [processing(f"Sleep{number}", SLEEP, str(SECONDS)) for number in range(3)]
    source = pipeline(
        *sleepers,
        processing("Killed", HOLD, str(release)),
        processing("Lost", HOLD, str(lost)),
        processing("AfterKilled", SLEEP, "0", after=["Killed"]),
        processing("AfterThat", SLEEP, "0", after=["AfterKilled", "Sleep0"]),
        processing("AfterSleep", SLEEP, "0", after=["Sleep0"]),
        processing("Missing", SLEEP, "0", source="s3://shells/2026/rings.csv"),
        processing("Broken", FAIL),
        evaluation("Eval", {"m": {"mse": 4.5}}),
        at_most("Gate", mse, {"Get": "Parameters.Limit"}, [inner], [fail("Bad", "too bad")]),
        processing("AfterInner", SLEEP, "0", after=["Inner"]),
        processing("AfterWorse", SLEEP, "0", after=["Worse"]),
        Limit="Float",
    )
    running = desk.run(desk.write("mishaps.json", source), "--keep-ui", "-p", "Limit=5")
    held = eventually(lambda: in_job(str(release)), seconds=300)
    logs = ("executions", "logs", running.execution, "Killed")
    eventually(lambda: "holding" in desk.type(*logs).stdout)
    ui = page_of(running)
    eventually(lambda: in_job(str(lost)))
    running.wait_for("(Lost Executing)")
    held.kill()
    running.wait_for("(Killed Failed)")
    before = worker(ui, "Lost", running.mark)
    before.kill()
    eventually(lambda: another(before, ui, running.mark))
    lost.touch()
    running.wait_for("(keeps running until Ctrl-C)")
    made = state(ui), tasks(ui)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 3, running.output
    return running, *made


@pytest.fixture(scope="module")
def run(finished: tuple[RunningCommand, str, Made]) -> RunningCommand:
    return finished[0]


@pytest.fixture(scope="module")
def shown(desk: Desk, run: RunningCommand) -> Any:
    return desk.show(run.execution)


def in_job(word: str) -> psutil.Process | None:
    """The process of a job with this word in its command line, without its supervisor."""
    return next((process for process in marked(word) if process.cmdline()[1] == "-c"), None)


def another(before: psutil.Process, ui: str, mark: str) -> bool:
    """Whether the task Lost runs in a new process."""
    try:
        return worker(ui, "Lost", mark).pid != before.pid
    except (StopIteration, psutil.NoSuchProcess, ValueError):
        return False


def test_every_step_has_the_expected_state(shown: Any) -> None:
    assert shown["status"] == "Failed"
    assert {name: step["state"] for name, step in shown["steps"].items()} == STATES
    assert shown["steps"]["Gate"]["outcome"] is True
    assert shown["steps"]["Inner"]["outcome"] is False


def test_engine_ends_all_tasks(finished: tuple[RunningCommand, str, Made]) -> None:
    _, ended, made = finished

    assert ended.lower() == "failed"
    assert made == {name: WORDS.get(state, state) for name, state in STATES.items()}


def test_ctrl_c_closes_a_kept_ui(run: RunningCommand) -> None:
    assert "closing the UI" in run.output
    assert "stopping" not in run.output
    assert marked(run.mark) == []


def test_engine_keeps_only_its_logs(desk: Desk, run: RunningCommand) -> None:
    assert run.process.returncode is not None
    homes = [path for path in (desk.home / ENGINE).iterdir() if path.is_dir()]

    assert {path.name for home in homes for path in home.iterdir()} == {"logs"}


def test_independent_steps_run_in_parallel(desk: Desk, run: RunningCommand) -> None:
    steps = desk.records.steps(run.execution)
    times = [
        (datetime.fromisoformat(step.started), datetime.fromisoformat(step.ended))
        for name, step in steps.items()
        if name.startswith("Sleep")
    ]

    began, ended = zip(*times, strict=True)
    assert len(times) == 3
    assert max(began) < min(ended)


def test_killed_process_fails_its_step(shown: Any) -> None:
    step = shown["steps"]["Killed"]

    assert step["state"] == "Failed"
    assert "killed by SIGKILL" in step["reason"]


def test_job_of_a_lost_worker_is_adopted(desk: Desk, run: RunningCommand, shown: Any) -> None:
    listed = desk.sagemaker.list_processing_jobs(NameContains=f"{run.execution}-Lost")
    (job,) = listed["ProcessingJobSummaries"]
    assert (job["ProcessingJobName"], job["ProcessingJobStatus"]) == (
        shown["steps"]["Lost"]["job"],
        "Completed",
    )
    logs = (path.read_text() for path in (desk.home / ENGINE).rglob("*.log"))
    name = job["ProcessingJobName"]
    found = f"found Processing {name} of an earlier worker; not starting another"
    assert any(found in log for log in logs)
    if ENGINE == "prefect":
        assert "the flow's process was killed by SIGKILL; restarted (1 of 2)" in run.output


def test_missing_input_names_uri_and_path(desk: Desk, shown: Any) -> None:
    step = shown["steps"]["Missing"]

    assert step["state"] == "Failed"
    assert "s3://shells/2026/rings.csv" in step["reason"]
    assert str(desk.home / "s3" / "shells") in step["reason"]


def test_failing_script_shows_its_last_lines_and_its_log(desk: Desk, shown: Any) -> None:
    step = shown["steps"]["Broken"]

    assert step["state"] == "Failed"
    assert "reading the shells\nValueError: a shell without rings" in step["reason"]
    assert "exit code: 1" in step["reason"]
    log = desk.home / "jobs" / "Processing" / step["job"] / "log"
    assert str(log) in step["reason"]
    assert "a shell without rings" in log.read_text()


def test_command_prints_failures_without_traceback(run: RunningCommand) -> None:
    output = run.output

    assert "result: Failed" in output
    for words in ("killed by SIGKILL", "s3://shells/2026/rings.csv", "a shell without rings"):
        assert words in output
    assert "Traceback" not in output


def test_metrics_and_outcomes_are_printed(run: RunningCommand, shown: Any) -> None:
    assert 'metric Eval.Report["m.mse"]: 4.5\n' in run.output
    assert "condition Gate: true (if)\n" in run.output
    assert "condition Inner: false (else)\n" in run.output
    assert "\x1b" not in run.output  # no colours in a pipe
    assert shown["metrics"] == {'Eval.Report["m.mse"]': 4.5}
    assert json.loads(shown["property_files"]["Eval.Report"]["content"]) == {"m": {"mse": 4.5}}
    for name in ("Sleep0", "Sleep1", "Sleep2"):
        assert run.output.index(f" {name} Executing") < run.output.index(f" {name} Succeeded")


def test_logs_can_be_read_afterwards(desk: Desk, shown: Any) -> None:
    one = desk.type("executions", "logs", shown["id"][:8], "Broken")
    every = desk.type("executions", "logs", shown["id"])

    assert "reading the shells" in one.stdout
    assert "[Broken] reading the shells" in every.stdout
    assert "[Killed] holding" in every.stdout
