"""What is so on Prefect alone: a person's own flow file, and flow runs that end from outside."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.definitions import HOLD, SLEEP, pipeline, processing
from tests.e2e.desk import Desk, Running, eventually, marked

pytestmark = pytest.mark.slow

OWN = '''
"""A flow as its author wrote it, with a task and a choice of its own."""

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
def own(held: dict[str, Running]) -> Running:
    return held["own"]


@pytest.fixture(scope="module")
def held(desk: Desk) -> dict[str, Running]:
    """A run whose job waits for a file that never comes, beside one of a person's own flow."""
    source = desk.write("own.py", OWN)
    runs = {"own": desk.run(source, "-p", "Word=good day", "-p", "Loud=true")}
    steps = [
        processing("Hold", HOLD, f"{desk.folder}/never-cancelled"),
        processing("After", SLEEP, "0", after=["Hold"]),
    ]
    runs["cancelled"] = desk.run(desk.write("cancelled.json", pipeline(*steps)))
    runs["cancelled"].says("(Hold.*Executing)")
    eventually(lambda: marked(f"{desk.folder}/never-cancelled"))
    return runs


def ended(desk: Desk, running: Running) -> Any:
    """The execution, which failed, whose job must have been stopped."""
    assert running.wait() == 3, running.output
    assert "Traceback" not in running.output
    shown = desk.show(running.execution)
    job = desk.sagemaker.describe_processing_job(ProcessingJobName=shown["steps"]["Hold"]["job"])
    assert job["ProcessingJobStatus"] == "Stopped"
    assert shown["steps"]["Hold"]["state"] == "Stopped"
    assert shown["steps"]["After"]["state"] == "NotRun"
    return shown


def test_a_persons_own_flow_runs_as_it_is(desk: Desk, own: Running) -> None:
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


def test_a_run_that_is_cancelled_in_prefect(desk: Desk, held: dict[str, Running]) -> None:
    running = held["cancelled"]
    base, _, run = running.says(r"Prefect UI: (\S+)").partition("/runs/flow-run/")
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    url = f"{base}/api/flow_runs/{run}/set_state"
    httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status()

    shown = ended(desk, running)

    assert shown["status"] == "Stopped"
    assert marked(running.mark) == []


def test_a_flow_of_nothing_but_its_own_tasks_is_prefects_alone(desk: Desk) -> None:
    refused = desk.type("run", desk.write("plain.py", TASKS_ALONE), "--on", "prefect")

    assert refused.returncode == 2
    assert "flow 'plain' has tasks of its own and no steps of sagebridge" in refused.stderr
