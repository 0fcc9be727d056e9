"""Messages of an SQS queue start runs of a deployment, through a forwarder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint

from sagebridge.model.event_triggers import s3_object_created
from tests.deploy.conftest import Project
from tests.deploy.test_schedules import runs, write
from tests.faulty_aws.server import FaultyAws

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
READ = """
import json, sys
from sagebridge_operators.prefect.event_forwarder import forwarder
forwarder(**json.loads(sys.argv[1]), seconds=4)
"""
DAY = {"Day": "<$.detail.bucket.name>/<$.detail.object.key>"}


@pytest.fixture(scope="module")
def aws() -> Iterator[FaultyAws]:
    with FaultyAws() as server:
        yield server


def trigger(name: str, queue: str) -> Any:
    return s3_object_created(name, "raw", parameters=DAY, queue=queue)


def forwarders(project: Project) -> dict[str, dict[str, Any]]:
    query = {"flows": {"name": {"any_": ["sagebridge-events"]}}}
    found = project.api.post("deployments/filter", json=query).json()
    return {one["name"]: one for one in found}


def test_message_starts_one_run_of_each_trigger(project: Project, aws: FaultyAws) -> None:
    queue = f"{aws.url}/111122223333/uploads"
    write(project, "Raw", triggers=(trigger("new", queue),))
    write(project, "Other", triggers=(trigger("new", queue),))
    project.deploy("Raw.py", "Other.py")
    (forwarder,) = forwarders(project).values()
    assert len(forwarder["parameters"]["triggers"]) == 2
    assert forwarder["schedules"][0]["schedule"]["interval"] == 300
    assert load_flow_from_entrypoint(forwarder["entrypoint"]).name == "sagebridge-events"

    sqs = aws.client("sqs")
    detail = {"bucket": {"name": "raw"}, "object": {"key": "{{ 1 }}.csv"}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    project.run("-c", READ, json.dumps(forwarder["parameters"]), env=aws.environment())
    for flow in ("Raw", "Other"):
        (run,) = runs(project, flow, until=len)
        assert run["parameters"] == {"Day": "raw/{{ 1 }}.csv"}
    assert aws.count("DeleteMessage") == 1

    write(project, "Raw")
    project.deploy("Raw.py")
    (forwarder,) = forwarders(project).values()
    assert len(forwarder["parameters"]["triggers"]) == 1
    write(project, "Other")
    project.deploy("Other.py")
    assert not forwarders(project)
