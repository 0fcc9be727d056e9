"""Schedules and event triggers that `sagebridge deploy` gives to deployments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import sagebridge
from sagebridge.model.event_triggers import EventTrigger, s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.schedules import SCHEDULED_TIME, Schedule
from sagebridge_operators.launch.prefect_engine import PrefectServer
from tests.deploy.conftest import Project

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"
UPLOADED = s3_object_created("uploaded", "raw", parameters={"Day": "$.time"}, queue=QUEUE)
NIGHTLY = Schedule(
    "nightly", "cron(0 4 * * ? *)", "Europe/Berlin", parameters={"Day": "monday", "Count": "7"}
)
OFTEN = Schedule("often", "rate(2 hours)", parameters={"Day": "{{ not a template }}"})
GIVEN = {"Day": f"at {SCHEDULED_TIME}", "Count": 3}
PARAMETERS = (Parameter("Day"), Parameter("Count", "Integer", 1))


def write(
    project: Project, name: str, *schedules: Schedule, triggers: tuple[EventTrigger, ...] = ()
) -> None:
    pipeline = Pipeline(
        name=name,
        steps=(Step("Stop", "Fail", {"ErrorMessage": PARAMETERS[0]}),),
        parameters=PARAMETERS,
        schedules=schedules,
        event_triggers=triggers,
    )
    text, _ = sagebridge.write(pipeline, "prefect")
    (project.folder / f"{name}.py").write_text(text)


@pytest.fixture(scope="module", autouse=True)
def minutely(
    tmp_path_factory: pytest.TempPathFactory,
    server: PrefectServer,
    api: httpx.Client,
    worker: None,
) -> Project:
    """A deployment with a schedule of a minute, which fires while the other tests run."""
    project = Project(tmp_path_factory.mktemp("minutely"), server, api)
    write(project, "Minutely", Schedule("every", "cron(* * * * ? *)", parameters=GIVEN))
    project.deploy("Minutely.py")
    return project


def schedules(project: Project, flow: str) -> dict[str | None, dict[str, Any]]:
    return {one["slug"]: one for one in project.deployment(flow)["schedules"]}


def test_schedules_follow_the_flow_file(project: Project) -> None:
    write(project, "Timed", NIGHTLY, OFTEN)
    stderr = project.deploy("Timed.py").stderr
    assert "schedule 'nightly' runs missed slots late" in stderr
    assert "'sagebridge.often' has a string that prefect.yaml would render" in stderr
    made = schedules(project, "Timed")
    nightly = made["sagebridge.nightly"]
    assert nightly["parameters"] == {"Day": "monday", "Count": 7}
    assert nightly["schedule"] == {
        "cron": "0 4 * * *",
        "timezone": "Europe/Berlin",
        "day_or": True,
    }
    assert made["sagebridge.often"]["schedule"]["interval"] == 7200
    by_hand = {"schedule": {"cron": "5 5 * * *"}, "active": True}
    url = f"deployments/{project.deployment('Timed')['id']}/schedules"
    project.api.post(url, json=[by_hand]).raise_for_status()
    (again,) = project.deployed("Timed.py")
    assert again["outcome"] == "unchanged"

    write(project, "Timed", Schedule("nightly", "cron(0 5 * * ? *)", parameters={"Day": "x"}))
    *_, changed, yaml = project.deployed("Timed.py")
    assert "schedules" in changed["changed"]
    assert yaml["outcome"] == "updated"
    now = schedules(project, "Timed")
    assert now.keys() == {"sagebridge.nightly", None}
    assert now["sagebridge.nightly"]["schedule"]["cron"] == "0 5 * * *"
    assert now[None]["schedule"]["cron"] == "5 5 * * *"
    text = (project.folder / "prefect.yaml").read_text()
    assert "sagebridge.nightly" in text
    assert "sagebridge.often" not in text
    assert "not a template" not in text

    write(project, "Timed")
    project.deploy("Timed.py")
    assert schedules(project, "Timed").keys() == {None}
    assert "slug" not in (project.folder / "prefect.yaml").read_text()


def test_wrong_parameter_of_a_schedule_is_rejected(project: Project) -> None:
    write(project, "Wrong", Schedule("bad", "rate(1 day)", parameters={"Day": "x", "Count": "7"}))
    file = project.folder / "Wrong.py"
    file.write_text(file.read_text().replace('"Day": "x"', '"Dya": "x"').replace('"7"', '"seven"'))
    stderr = project.deploy("Wrong.py", code=1).stderr
    assert "schedule 'bad': parameter 'Count' is 'seven', expected an Integer" in stderr
    assert "unknown parameter 'Dya'" in stderr
    assert "parameter 'Day' has no default" in stderr
    assert "Wrong" not in project.names()


def automations(project: Project, flow: str) -> list[dict[str, Any]]:
    id_ = project.deployment(flow)["id"]
    found: list[dict[str, Any]] = project.api.get(
        f"automations/related-to/prefect.deployment.{id_}"
    ).json()
    return found


def test_event_trigger_is_an_automation(project: Project) -> None:
    write(project, "Events", NIGHTLY, triggers=(UPLOADED,))
    project.deploy("Events.py")
    (made,) = automations(project, "Events")
    assert made["name"] == "sagebridge.Events/Events/uploaded"
    (again,) = project.deployed("Events.py")
    assert again["outcome"] == "unchanged"

    event = {
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "sagebridge.event-trigger",
        "resource": {"prefect.resource.id": "sagebridge.event-trigger.Events/Events/uploaded"},
        "payload": {"parameters": {"Day": "{{ 1 + 1 }} 'it'"}},
        "id": "6f2b8a9e-0000-4000-8000-000000000001",
    }
    for _ in range(2):  # a message that is received twice
        project.api.post("events", json=[event]).raise_for_status()
    (run,) = runs(project, "Events", until=len)
    assert run["parameters"] == {"Day": "{{ 1 + 1 }} 'it'"}
    project.run("-m", "prefect", "--no-prompt", "deploy", "--all")
    (again,) = project.deployed("Events.py")
    assert {"schedules", "event triggers"}.isdisjoint(again["changed"]), again
    assert len(runs(project, "Events", until=lambda _: True)) == 1

    write(project, "Events")
    project.deploy("Events.py")
    assert automations(project, "Events") == []


def has_failed(found: list[Any]) -> bool:
    return any(one["state_type"] == "FAILED" for one in found)


def runs(
    project: Project, flow: str, until: Callable[[list[Any]], object], *, scheduled: bool = False
) -> list[dict[str, Any]]:
    """The flow runs of a deployment, once there are enough: those of schedules, or the others."""
    query = {"flows": {"name": {"any_": [flow]}}}
    deadline = time.monotonic() + 90
    while True:
        answer = project.api.post("flow_runs/filter", json=query).json()
        found = [one for one in answer if one["auto_scheduled"] == scheduled]
        if until(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def test_schedule_of_a_minute_fires_with_its_parameters(minutely: Project) -> None:
    found = runs(minutely, "Minutely", until=has_failed, scheduled=True)
    ran = next(one for one in found if one["state_type"] == "FAILED")
    assert ran["parameters"] == GIVEN
    assert ran["state"]["message"] == f"at {ran['expected_start_time'][:17]}00Z"
    assert ran["created_by"]["display_value"] == "sagebridge.every"

    write(minutely, "Minutely")
    minutely.deploy("Minutely.py")
    left = runs(minutely, "Minutely", until=lambda _: True, scheduled=True)
    assert not any(one["state_type"] == "SCHEDULED" for one in left)
