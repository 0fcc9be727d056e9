"""However a run is ended before its steps are, no process and no running job is left."""

from __future__ import annotations

import re
import signal
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import ENGINE, Desk, Running, eventually, marked
from tests.e2e.engines import TITLE, service

pytestmark = pytest.mark.slow
CTRL_C = b"\x03"
WAYS = ("terminal", "service", "broken", "asked", "killed")
FLOW = """
from prefect import flow
from sagebridge_operators.prefect import finish, processing, python, shell, stop_jobs


def wait(seconds):
    import time

    print("waiting")
    time.sleep(seconds)


@flow(name={name!r}, on_cancellation=[stop_jobs])
def held():
    \"\"\"A job and a command that last longer than anybody waits.\"\"\"
    hold = processing("Hold", arguments={hold!r})
    processing("After", arguments={sleep!r}, depends_on=[hold])
    waiting = python("Wait", wait, args=[0.1])
    command = shell("Command", "sleep 1000 & sleep 1000", depends_on=[waiting])
    python("AfterCommand", wait, args=[1000], depends_on=[command])
    return finish()
"""


@pytest.fixture(scope="module")
def runs(desk: Desk) -> dict[str, Running]:
    """Runs in one folder; each has a job that waits for a file that never comes, and a command."""
    runs = {}
    for name in WAYS:
        hold, sleep = processing("", HOLD, release(desk, name)), processing("", SLEEP, "0")
        given = {"hold": hold["Arguments"], "sleep": sleep["Arguments"]}
        source = desk.write(f"held_{name}.py", FLOW.format(name=f"held-{name}", **given))
        runs[name] = desk.run(source, terminal=name == "terminal")
    for name, running in runs.items():
        eventually(lambda name=name: marked(release(desk, name)), seconds=300)  # type: ignore[misc]
        running.says("(Hold.*Executing)")
        eventually(lambda running=running: len(sleeping(running)) == 2)  # type: ignore[misc]
    return runs


def sleeping(running: Running) -> list[psutil.Process]:
    """The processes of the command of a run."""
    return [one for one in marked(running.mark) if one.name() == "sleep"]


def release(desk: Desk, name: str) -> str:
    return f"{desk.folder}/never-{name}"


def left(desk: Desk, runs: dict[str, Running], name: str) -> list[psutil.Process]:
    """What still runs of a run and of its job."""
    return marked(runs[name].mark) + marked(release(desk, name))


def outcome(desk: Desk, running: Running) -> Any:
    """The execution as it is recorded, whose job and command must have been stopped."""
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


def test_ctrl_c_at_a_terminal(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["terminal"]

    running.type(CTRL_C)

    assert running.wait(60) == 130
    assert left(desk, runs, "terminal") == []
    assert outcome(desk, running)["status"] == "Stopped"
    assert "stopping the jobs" in running.output
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


def test_an_engine_that_dies(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["broken"]

    service(running.mark).kill()

    assert running.wait(60) == 6
    eventually(lambda: left(desk, runs, "broken") == [])
    assert outcome(desk, running)["status"] == "Failed"
    assert f"{TITLE} ended" in running.output
    assert "Traceback" not in running.output


def test_a_stop_that_is_asked_for_elsewhere(desk: Desk, runs: dict[str, Running]) -> None:
    running = runs["asked"]

    stop = desk.type("executions", "stop", running.execution[:6])

    assert stop.returncode == 0, stop.stderr
    assert "no job runs any more; the execution is Stopped" in stop.stdout
    assert running.wait(60) == 3
    assert "result: Stopped" in running.output
    assert outcome(desk, running)["reason"] == "a stop was requested"


def test_a_command_that_is_killed(desk: Desk, runs: dict[str, Running]) -> None:
    """Last of all, since what ends its engine needs the processor as much as the others do."""
    running = runs["killed"]

    running.process.kill()

    eventually(lambda: left(desk, runs, "killed") == [])
    found = outcome(desk, running)
    assert found["status"] == "Stopped"
    assert found["reason"] == "the command that ran it was killed"


def test_while_the_engine_starts(desk: Desk) -> None:
    """On Prefect an execution begins with its flow run, which only a server can make."""
    running = desk.run(desk.write("early.json", pipeline(processing("Never", SLEEP, "60"))))
    running.says("(starting)")

    running.process.send_signal(signal.SIGINT)

    assert running.wait() == 130
    assert marked(running.mark) == []
    begun = re.findall(r"execution (\w{12})", running.output)
    ends = {desk.show(one)["status"] for one in begun}
    assert ends == ({"Stopped"} if ENGINE == "airflow" else set())
