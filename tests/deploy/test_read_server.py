"""Deployments on a Prefect server, read as pipelines."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sagebridge
from sagebridge.model.event_triggers import s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.schedules import Schedule
from tests.deploy.conftest import Project

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"
READ = """
import json, sys
import sagebridge
from sagebridge.model.schedules import stated_fields
pipeline, losses = sagebridge.read(sys.argv[1])
print(json.dumps({
    "name": pipeline.name,
    "steps": [one.name for one in pipeline.steps],
    "defaults": {one.name: str(one.default) for one in pipeline.declared},
    "schedules": [stated_fields(one) for one in pipeline.schedules],
    "triggers": [one.name for one in pipeline.event_triggers],
    "losses": [f"{one.severity} {one.what}" for one in losses],
}))
"""


def read(project: Project, source: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.run("-c", READ, source).stdout)
    return found


def test_deployment_on_a_server_is_a_pipeline(project: Project) -> None:
    pipeline = Pipeline(
        name="Live",
        steps=(Step("Stop", "Fail", {"ErrorMessage": "no"}),),
        parameters=(Parameter("Input-Day", default="today"), Parameter("Count", "Integer", 1)),
        schedules=(
            Schedule("nightly", "cron(0 4 LW * ? *)", parameters={"Count": 3}),
            Schedule("weekly", "cron(0 4 ? * 2 *)", "Europe/Berlin"),
        ),
        event_triggers=(
            s3_object_created("new", "raw", parameters={"Input-Day": "$.time"}, queue=QUEUE),
        ),
    )
    file = project.folder / "live.py"
    file.write_text(sagebridge.write(pipeline, "prefect").text)
    project.deploy("live.py")
    deployment = project.deployment("Live")
    url = f"deployments/{deployment['id']}/schedules"
    by_hand = {
        "schedule": {"cron": "30 6 * * 1-5", "timezone": "Europe/Berlin"},
        "active": True,
        "slug": "by-hand",
        "parameters": {"Input_Day": "monday"},
    }
    project.api.post(url, json=[by_hand]).raise_for_status()
    (weekly,) = [one for one in deployment["schedules"] if one["slug"] == "sagebridge.weekly"]
    project.api.patch(f"{url}/{weekly['id']}", json={"active": False}).raise_for_status()

    found = read(project, "prefect://Live/Live")
    assert (found["name"], found["steps"], found["triggers"]) == ("Live", ["Stop"], ["new"])
    nightly, weekly, mine = found["schedules"]
    assert nightly == {
        "name": "nightly",
        "expression": "cron(0 4 LW * ? *)",
        "parameters": {"Count": 3},
    }
    assert (weekly["name"], weekly["enabled"]) == ("weekly", False)
    assert mine == {
        "name": "by-hand",
        "expression": "cron(30 6 ? * MON-FRI *)",
        "timezone": "Europe/Berlin",
        "parameters": {"Input-Day": "monday"},
    }

    # The schedules are read without the flow's file, too.
    file.unlink()
    alone = read(project, "prefect://Live/Live")
    assert (alone["name"], alone["steps"]) == ("Live", [])
    assert alone["defaults"] == {"Input-Day": "today", "Count": "1"}
    assert {one["name"] for one in alone["schedules"]} == {"nightly", "weekly", "by-hand"}
    assert any("'live.py' is not on this machine" in one for one in alone["losses"])

    missing = project.run("-m", "sagebridge.cli", "show", "prefect://Live/None", code=5)
    assert "the server has no deployment 'Live/None'" in missing.stderr
