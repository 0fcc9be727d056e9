"""However a run is ended before its steps are, no process and no running job is left."""

from __future__ import annotations

import signal
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import Desk, Running, eventually, marked

pytestmark = pytest.mark.slow
CTRL_C = b"\x03"


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, Running]:
    """Runs in one folder, each of which has a job that waits for a file that never comes."""
    runs = {}
    for name in ("terminal", "service", "broken"):
        steps = [
            processing("Hold", HOLD, release(desk, name)),
            processing("After", SLEEP, "0", after=["Hold"]),
        ]
        source = desk.write(f"held-{name}.json", pipeline(*steps))
        runs[name] = desk.run(source, terminal=name == "terminal")
    for name in runs:
        eventually(lambda name=name: marked(release(desk, name)), seconds=150)  # type: ignore[misc]
    return runs


def release(desk: Desk, name: str) -> str:
    return f"{desk.folder}/never-{name}"


def left(desk: Desk, runs: dict[str, Running], name: str) -> list[psutil.Process]:
    """What still runs of a run and of its job."""
    return marked(runs[name].mark) + marked(release(desk, name))


def outcome(desk: Desk, running: Running) -> Any:
    """The execution as it is recorded, whose job must have been stopped."""
    shown = desk.show(running.says(r"execution (\w{12})"))
    hold = shown["steps"]["Hold"]
    job = desk.sagemaker.describe_processing_job(ProcessingJobName=hold["job"])
    assert job["ProcessingJobStatus"] == hold["state"] == "Stopped"
    assert shown["steps"]["After"]["state"] == "NotRun"
    return shown


def test_ctrl_c_at_a_terminal(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["terminal"]
    running.says(r"(Hold.*Executing)")

    running.type(CTRL_C)

    assert running.wait(60) == 130
    assert left(desk, runs, "terminal") == []
    assert outcome(desk, running)["status"] == "Stopped"
    assert "result: Stopped" in running.output
    assert "reason: stopped by SIGINT" in running.output
    assert "Traceback" not in running.output


def test_sigterm(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["service"]

    running.process.terminate()

    assert running.wait(60) == 128 + signal.SIGTERM
    assert left(desk, runs, "service") == []
    assert outcome(desk, running)["status"] == "Stopped"
    assert "reason: stopped by SIGTERM" in running.output


def test_an_airflow_that_dies(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["broken"]
    (scheduler,) = (
        process
        for process in marked(running.mark)
        if process.cmdline()[-2:] == ["scheduler", "--skip-serve-logs"]
    )

    scheduler.kill()

    assert running.wait(60) == 6
    eventually(lambda: left(desk, runs, "broken") == [])
    assert outcome(desk, running)["status"] == "Failed"
    assert "Airflow ended" in running.output
    assert "Traceback" not in running.output


def test_while_airflow_starts(desk: Desk) -> None:
    running = desk.run(desk.write("early.json", pipeline(processing("Never", SLEEP, "60"))))
    running.says(r"(starting Airflow)")

    running.process.send_signal(signal.SIGINT)

    assert running.wait(30) == 130
    assert marked(running.mark) == []
    assert desk.show(running.says(r"execution (\w{12})"))["status"] == "Stopped"
