"""However a run is ended before its steps are, no process and no running job is left."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import Desk, Running, eventually, marked

pytestmark = pytest.mark.slow
WAYS = ("SIGINT", "SIGTERM", "SIGKILL", "stop")


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, Running]:
    """Four runs in one folder, each of which has a job that waits for a file that never comes."""
    runs = {}
    for way in WAYS:
        release = f"{desk.folder}/never-{way}"
        steps = processing("Hold", HOLD, release), processing("After", SLEEP, "0", after=["Hold"])
        runs[way] = desk.run(desk.write(f"held-{way}.json", pipeline(*steps)))
    for way, running in runs.items():
        running.says(r"(Hold Executing)")
        eventually(lambda way=way: jobs(desk, way))  # type: ignore[misc]
    return runs


def jobs(desk: Desk, way: str) -> list[psutil.Process]:
    return marked(f"{desk.folder}/never-{way}")


def assert_stopped(desk: Desk, running: Running, way: str) -> None:
    execution = running.says(r"execution (\w{12})")
    eventually(lambda: not (marked(running.mark) or jobs(desk, way)), seconds=45)
    shown = desk.show(execution)
    assert shown["status"] == "Stopped", shown
    assert shown["steps"]["Hold"]["state"] == "Stopped"
    assert shown["steps"]["After"]["state"] == "NotRun"
    job = desk.sagemaker.describe_processing_job(ProcessingJobName=shown["steps"]["Hold"]["job"])
    assert job["ProcessingJobStatus"] == "Stopped"


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM"])
def test_by_a_signal(desk: Desk, runs: dict[str, Running], way: str) -> None:
    number = signal.Signals[way]
    runs[way].process.send_signal(number)

    assert runs[way].wait(60) == 128 + number
    assert not marked(runs[way].mark)
    assert_stopped(desk, runs[way], way)
    assert f"stopped by {way}" in runs[way].output
    assert "Traceback" not in runs[way].output


def test_by_another_command(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["stop"]
    execution = running.says(r"execution (\w{12})")

    stopped = desk.type("executions", "stop", execution[:8])

    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert not jobs(desk, "stop")
    assert running.wait(60) == 3
    assert_stopped(desk, running, "stop")


def test_by_a_kill_that_cannot_be_caught(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["SIGKILL"]
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()

    assert_stopped(desk, running, "SIGKILL")


def test_during_the_start_of_airflow(desk: Desk) -> None:
    source = desk.write("early.json", pipeline(processing("Never", SLEEP, "60")))
    running = desk.run(source)
    running.says(r"(starting Airflow)")

    running.process.send_signal(signal.SIGINT)

    assert running.wait(30) == 130
    assert not marked(running.mark)
    assert desk.show(running.says(r"execution (\w{12})"))["status"] == "Stopped"
