"""Ways to end a run early: none leaves a process or a running job."""

from __future__ import annotations

import re
import signal
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import ENGINE, Desk, RunningCommand, eventually, marked
from tests.e2e.engines import TITLE, service

pytestmark = pytest.mark.slow
CTRL_C = b"\x03"
CASES = ("terminal", "service", "broken", "stop", "killed")
FLOW = """
from prefect import flow
from sagebridge_operators.prefect import finish, processing, python, shell, stop_jobs


def wait(seconds):
    import time

    print("waiting")
    time.sleep(seconds)


@flow(name={name!r}, on_cancellation=[stop_jobs])
def held():
    \"\"\"A job and a command that never end on their own.\"\"\"
    hold = processing("Hold", arguments={hold!r})
    processing("After", arguments={sleep!r}, depends_on=[hold])
    waiting = python("Wait", wait, args=[0.1])
    command = shell("Command", "sleep 1000 & sleep 1000", depends_on=[waiting])
    python("AfterCommand", wait, args=[1000], depends_on=[command])
    return finish()
"""


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, RunningCommand]:
    """Runs in one folder, each with a job that waits for a missing file and a shell command."""
    runs = {}
    for name in CASES:
        hold, sleep = processing("", HOLD, release(desk, name)), processing("", SLEEP, "0")
        given = {"hold": hold["Arguments"], "sleep": sleep["Arguments"]}
        source = desk.write(f"held_{name}.py", FLOW.format(name=f"held-{name}", **given))
        runs[name] = desk.run(source, terminal=name == "terminal")
    for name, running in runs.items():
        eventually(lambda name=name: marked(release(desk, name)), seconds=300)  # type: ignore[misc]
        running.wait_for("(Hold.*Executing)")
        eventually(lambda running=running: len(sleeping(running)) == 2)  # type: ignore[misc]
    return runs


def sleeping(running: RunningCommand) -> list[psutil.Process]:
    """The processes of the shell command of a run."""
    return [one for one in marked(running.mark) if one.name() == "sleep"]


def release(desk: Desk, name: str) -> str:
    return f"{desk.folder}/never-{name}"


def remaining(desk: Desk, runs: dict[str, RunningCommand], name: str) -> list[psutil.Process]:
    """The remaining processes of a run and its job."""
    return marked(runs[name].mark) + marked(release(desk, name))


def outcome(desk: Desk, running: RunningCommand) -> Any:
    """The recorded execution, after checking that its job and command were stopped."""
    shown = desk.show(running.execution)
    hold = shown["steps"]["Hold"]
    job = desk.sagemaker.describe_processing_job(ProcessingJobName=hold["job"])
    assert job["ProcessingJobStatus"] == hold["state"] == "Stopped"
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert states.pop("Command") in ("Stopped", shown["status"])
    assert states == {
        "Hold": "Stopped",
        "After": "NotRun",
        "Wait": "Succeeded",
        "AfterCommand": "NotRun",
    }
    return shown


def test_ctrl_c_in_a_terminal(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["terminal"]

    running.type(CTRL_C)

    assert running.wait(60) == 130
    assert remaining(desk, runs, "terminal") == []
    assert outcome(desk, running)["status"] == "Stopped"
    assert "stopping the jobs" in running.output
    assert "result: Stopped" in running.output
    assert "reason: stopped by SIGINT" in running.output
    assert "Traceback" not in running.output


def test_sigterm(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["service"]

    running.process.terminate()

    assert running.wait(60) == 128 + signal.SIGTERM
    assert remaining(desk, runs, "service") == []
    assert outcome(desk, running)["status"] == "Stopped"
    assert "reason: stopped by SIGTERM" in running.output


def test_killed_engine(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["broken"]

    service(running.mark).kill()

    assert running.wait(60) == 6
    eventually(lambda: remaining(desk, runs, "broken") == [])
    assert outcome(desk, running)["status"] == "Failed"
    assert f"{TITLE} ended" in running.output
    assert "Traceback" not in running.output


def test_executions_stop(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    running = runs["stop"]

    stop = desk.type("executions", "stop", running.execution[:6])

    assert stop.returncode == 0, stop.stderr
    assert "no jobs are running; the execution is Stopped" in stop.stdout
    assert running.wait(60) == 3
    assert "result: Stopped" in running.output
    assert outcome(desk, running)["reason"] == "a stop was requested"


def test_killed_command(desk: Desk, runs: dict[str, RunningCommand]) -> None:
    """Runs last, because the cleanup after it competes for the processor."""
    running = runs["killed"]

    running.process.kill()

    eventually(lambda: remaining(desk, runs, "killed") == [])
    found = outcome(desk, running)
    assert found["status"] == "Stopped"
    assert found["reason"] == "the command that ran it was killed"


def test_interrupt_while_the_engine_starts(desk: Desk) -> None:
    """On Prefect the execution starts with the flow run, which only the server can create."""
    running = desk.run(desk.write("early.json", pipeline(processing("Never", SLEEP, "60"))))
    running.wait_for("(starting)")

    running.process.send_signal(signal.SIGINT)

    assert running.wait() == 130
    assert marked(running.mark) == []
    executions = re.findall(r"execution (\w{12})", running.output)
    ends = {desk.show(one)["status"] for one in executions}
    assert ends == ({"Stopped"} if ENGINE == "airflow" else set())
