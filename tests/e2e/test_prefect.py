"""Only on Prefect: a hand-written flow file, and flow runs cancelled from outside."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import Desk, RunningCommand, eventually, marked
from tests.e2e.engines import page_of

pytestmark = pytest.mark.slow

OWN = '''
"""A hand-written flow, with a Prefect task and a branch."""

from pathlib import Path

from prefect import flow, task

from sagebridge_operators.prefect import condition, equals, finish, parameter, processing

RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


@task
def note(text: str) -> None:
    Path("noted").write_text(text)


def say(name, word, **more):
    command = ["python3", "-c", "import sys; print(sys.argv[1])"]
    application = {"ImageUri": "i", "ContainerEntrypoint": command, "ContainerArguments": [word]}
    return processing(
        name,
        arguments={
            "RoleArn": "arn:aws:iam::111122223333:role/r",
            "ProcessingResources": {"ClusterConfig": RESOURCES},
            "AppSpecification": application,
        },
        **more,
    )


@flow(name="mine", log_prints=True)
def whatever(Word: str = "hello", Loud: bool = False):
    note("my own")
    first = say("Say", parameter("Word"))
    check = condition("Check", conditions=[equals(parameter("Loud"), True)], depends_on=[first])
    if check:
        say("Shout", "HEY")
    else:
        say("Whisper", "hm")
    return finish()
'''


TASKS_ALONE = """
from prefect import flow, task

@task
def note(text: str) -> str:
    return text

@flow
def plain():
    note("x")
"""


@pytest.fixture(scope="module")
def own(held: dict[str, RunningCommand]) -> RunningCommand:
    return held["own"]


@pytest.fixture(scope="module")
def held(desk: Desk) -> dict[str, RunningCommand]:
    """A run whose job waits for a file that never appears, and one of a hand-written flow."""
    source = desk.write("own.py", OWN)
    runs = {"own": desk.run(source, "-p", "Word=good day", "-p", "Loud=true")}
    steps = [
        processing("Hold", HOLD, f"{desk.folder}/never-cancelled"),
        processing("After", SLEEP, "0", after=["Hold"]),
    ]
    runs["cancelled"] = desk.run(desk.write("cancelled.json", pipeline(*steps)))
    runs["cancelled"].wait_for("(Hold.*Executing)")
    eventually(lambda: marked(f"{desk.folder}/never-cancelled"))
    return runs


def cancelled_execution(desk: Desk, running: RunningCommand) -> Any:
    """Wait for the end of a cancelled run and return its execution."""
    assert running.wait() == 3, running.output
    assert "Traceback" not in running.output
    shown = desk.show(running.execution)
    job = desk.sagemaker.describe_processing_job(ProcessingJobName=shown["steps"]["Hold"]["job"])
    assert job["ProcessingJobStatus"] == "Stopped"
    assert shown["steps"]["Hold"]["state"] == "Stopped"
    assert shown["steps"]["After"]["state"] == "NotRun"
    return shown


def test_hand_written_flow_runs_unchanged(desk: Desk, own: RunningCommand) -> None:
    assert own.wait() == 0, own.output

    assert "plain Prefect tasks run but are not steps of the execution: note" in own.output
    assert (desk.folder / "noted").read_text() == "my own"
    shown = desk.show(own.execution)
    assert shown["run"].startswith("mine/")
    assert shown["parameters"] == {"Word": "good day", "Loud": True}
    assert {name: step["state"] for name, step in shown["steps"].items()} == {
        "Say": "Succeeded",
        "Check": "Succeeded",
        "Shout": "Succeeded",
    }
    assert "good day" in desk.type("executions", "logs", own.execution, "Say").stdout


def test_run_cancelled_in_prefect(desk: Desk, held: dict[str, RunningCommand]) -> None:
    running = held["cancelled"]
    base, _, run = page_of(running).partition("/login?redirect=/runs/flow-run/")
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    url = f"{base}/api/flow_runs/{run}/set_state"
    httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status()

    shown = cancelled_execution(desk, running)

    assert shown["status"] == "Stopped"
    assert marked(running.mark) == []


def test_flow_without_steps_is_rejected(desk: Desk) -> None:
    rejected = desk.type("run", desk.write("plain.py", TASKS_ALONE), "--on", "prefect")

    assert rejected.returncode == 2
    assert "flow 'plain' has only plain Prefect tasks and no sagebridge" in rejected.stderr
