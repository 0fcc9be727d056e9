"""A flow file with functions and commands of a user's own, run on either engine."""

from __future__ import annotations

import json
import signal

import pytest

from tests.code import FLOW, PATH, REASON, STATES
from tests.e2e.desk import Desk, eventually, marked

pytestmark = pytest.mark.slow

HOLD = '''
from prefect import flow
from sagebridge_operators.prefect import finish, python, shell, stop_jobs


def wait(seconds):
    import time

    print("waiting")
    time.sleep(seconds)


@flow(name="hold", on_cancellation=[stop_jobs])
def hold():
    """Two steps that last longer than anybody waits."""
    waiting = python("Wait", wait, args=[0.1])
    command = shell("Hold", "sleep 1000 & sleep 1000", depends_on=[waiting])
    python("After", wait, args=[1000], depends_on=[command])
    return finish()
'''


def test_code_runs_and_is_told_of_as_any_step(desk: Desk) -> None:
    running = desk.run(desk.write("rows.py", FLOW.replace("NAME", "rows")))
    assert running.wait() == 0, running.output
    assert "warning" not in running.output
    shown = desk.show(running.execution)
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert {one: state for one, state in states.items() if state != "Succeeded"} == STATES[10]
    model = desk.sagemaker.describe_model(ModelName=shown["steps"]["model"]["job"])
    assert model["PrimaryContainer"]["ModelDataUrl"] == PATH


def test_code_that_fails_fails_the_execution(desk: Desk) -> None:
    source = desk.write("few.py", FLOW.replace("NAME", "few"))
    running = desk.run(source, "-p", "rows=1", "--format", "json")
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


def test_ctrl_c_ends_a_command_and_all_that_it_started(desk: Desk) -> None:
    running = desk.run(desk.write("hold.py", HOLD))
    running.says("(Hold.*Executing)")
    sleeping = eventually(lambda: [one for one in marked(running.mark) if one.name() == "sleep"])
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130, running.output
    assert not any(one.is_running() for one in sleeping)
    assert marked(running.mark) == []
    shown = desk.show(running.execution)
    states = {name: step["state"] for name, step in shown["steps"].items()}
    assert states == {"Wait": "Succeeded", "Hold": "Stopped", "After": "NotRun"}


def test_a_killed_run_leaves_no_command(desk: Desk) -> None:
    running = desk.run(desk.write("killed.py", HOLD.replace('"hold"', '"killed"')))
    running.says("(Hold.*Executing)")
    eventually(lambda: [one for one in marked(running.mark) if one.name() == "sleep"])
    running.process.kill()
    eventually(lambda: marked(running.mark) == [])
    assert desk.show(running.execution)["steps"]["Hold"]["state"] == "Stopped"
