"""The forwarder: it sends messages of a queue as Prefect events, and each starts one run."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.server.events.schemas.events import Resource, ResourceSpecification

from sagebridge.authoring.prefect_deployment import (
    trigger_entries,
    trigger_record,
    trigger_resource,
)
from sagebridge.model.event_triggers import s3_object_created
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.prefect import event_forwarder
from sagebridge_operators.prefect.event_forwarder import (
    ForwardedTrigger,
    Forwarder,
    current_triggers,
)

pytestmark = pytest.mark.prefect
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"
SIZE = Parameter("Size", "Integer", 1, limits={"maximum": 100})
MODE = Parameter("Mode", default=None, nullable=True)
PIPELINE = Pipeline("P", parameters=[Parameter("InputData"), SIZE, MODE])
PARAMETERS = {"InputData": "s3://raw/<$.detail.object.key>", "Size": "$.detail.object.size"}


class Server:
    """Prefect's events API, with automations that start runs or fail."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.stored: list[dict[str, Any]] = []
        self.reaction: str | None = "executed"
        self.enabled = True

    def post(self, path: str, json: Any) -> Any:
        if path == "/automations/filter":
            automations = [
                {"name": name, "enabled": self.enabled}
                for name in json["automations"]["name"]["any_"]
                if name == "sagebridge.P/P/new"
            ]
            return SimpleNamespace(
                raise_for_status=lambda: None, content=b"x", json=lambda: automations
            )
        if path == "/events":
            self.sent += json
            self.stored += (self._reacted(one) for one in json if self.reaction)
            return SimpleNamespace(raise_for_status=lambda: None, content=b"")
        wanted = set(json["filter"]["related"]["id"])
        found = [one for one in self.stored if one["related"][0]["prefect.resource.id"] in wanted]
        return SimpleNamespace(
            raise_for_status=lambda: None, content=b"x", json=lambda: {"events": found}
        )

    def _reacted(self, event: dict[str, Any]) -> dict[str, Any]:
        related = {
            "prefect.resource.id": f"prefect.event.{event['id']}",
            "prefect.resource.role": "triggering-event",
        }
        return {
            "id": str(len(self.stored)),
            "event": f"prefect.automation.action.{self.reaction}",
            "related": [related],
            "payload": {"reason": "Unexpected status from 'run-deployment' action: 404"},
        }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(event_forwarder, "get_run_logger", lambda: logging.getLogger("forwarder"))
    return Server()


def forwarder(server: Server, *names: str) -> Forwarder:
    arguments = {"InputData": "input_data", "Size": "size"}
    triggers = [
        s3_object_created(name, "raw", parameters=PARAMETERS, queue=QUEUE) for name in names
    ]
    records = [trigger_record(PIPELINE, arguments, "P/P", one) for one in triggers]
    found = [ForwardedTrigger.of(json.loads(json.dumps(one))) for one in records]
    return Forwarder(SimpleNamespace(_client=server), found, patience=0.1)


def message(name: str, key: str, size: Any = 5, bucket: str = "raw") -> dict[str, Any]:
    detail = {"bucket": {"name": bucket}, "object": {"key": key, "size": size}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    return {"MessageId": name, "ReceiptHandle": name, "Body": json.dumps(event)}


def test_each_message_becomes_one_event_with_typed_values(server: Server) -> None:
    messages = [message("m1", "{{ a }}", "7"), message("m2", "b"), message("m3", "c", bucket="x")]
    subject = forwarder(server, "new")
    assert list(subject.forward(messages)) == messages
    assert not subject.problems
    assert [one["payload"]["parameters"] for one in server.sent] == [
        {"input_data": "s3://raw/{{ a }}", "size": 7},
        {"input_data": "s3://raw/b", "size": 5},
    ]
    assert {one["event"] for one in server.sent} == {"sagebridge.event-trigger"}
    resources = {one["resource"]["prefect.resource.id"] for one in server.sent}
    assert resources == {"sagebridge.event-trigger.P/P/new"}


def test_automation_has_only_the_events_of_its_trigger() -> None:
    names = ("in", "in*", "[ab]", "a", "!a")
    triggers = [s3_object_created(name, "raw", queue=QUEUE) for name in names]
    pipeline = replace(PIPELINE, event_triggers=tuple(triggers))
    for entry, name in zip(trigger_entries(pipeline, {}, "P/P"), names, strict=True):
        found = [
            one.name
            for one in triggers
            if ResourceSpecification.model_validate(entry["match"]).matches(
                Resource({"prefect.resource.id": trigger_resource("P/P", one)})
            )
        ]
        assert found == [name]


def test_message_that_arrives_again_starts_nothing(server: Server) -> None:
    again = message("m1", "a")
    for _ in range(2):  # the second time in a new flow run
        assert list(forwarder(server, "one", "two").forward([again])) == [again]
    ids = [one["id"] for one in server.sent]
    assert len(ids) == len(set(ids)) == 2  # one per trigger


def test_event_without_a_run_is_sent_again_with_the_same_id(server: Server) -> None:
    server.reaction = "failed"
    subject = forwarder(server, "new")
    assert not list(subject.forward([message("m1", "a")]))  # it stays in the queue
    assert "started no run: Unexpected status" in subject.problems[0]
    server.reaction = "executed"
    subject = forwarder(server, "new")
    assert list(subject.forward([message("m1", "a")]))
    assert not subject.problems
    first, second = (one["id"] for one in server.sent)
    assert first == second


def test_rejected_values_are_reported_and_not_sent(server: Server) -> None:
    subject = forwarder(server, "new")
    bad, good = message("m1", "a", "big"), message("m2", "b")
    large, huge = message("m3", "c", 101), message("m4", "d", -(10**20))
    assert list(subject.forward([bad, good, large, huge])) == [bad, good, large, huge]
    first, second, third = subject.problems
    assert third == "message m4 of trigger 'new': parameter 'Size' is larger than 64 bits"
    assert first == "message m1 of trigger 'new': parameter 'Size' is 'big', expected an Integer"
    assert second.startswith("message m3 of trigger 'new': parameter 'Size' is 101")
    assert len(server.sent) == 1


def test_event_of_a_disabled_automation_is_dropped(server: Server) -> None:
    server.reaction, server.enabled = None, False
    subject = forwarder(server, "new")
    assert list(subject.forward([message("m1", "a")]))
    assert not subject.problems


def test_message_stays_until_its_automation_has_reacted(server: Server) -> None:
    server.reaction = None
    assert not list(forwarder(server, "new").forward([message("m1", "a")]))
    server.reaction = "failed"
    assert not list(forwarder(server, "new").forward([message("m1", "a")]))
    server.reaction = None  # the server ignores an event that it has seen
    assert not list(forwarder(server, "new").forward([message("m1", "a")]))
    server.reaction = "executed"
    assert list(forwarder(server, "new").forward([message("m1", "a")]))
    assert len({one["id"] for one in server.sent}) == 1


def test_redeployed_triggers_are_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {"triggers": ["new"]}

    def read_deployment(id: UUID) -> Any:
        if not stored["triggers"]:
            raise ObjectNotFound(Exception("deleted"))
        return SimpleNamespace(parameters=stored)

    client = SimpleNamespace(read_deployment=read_deployment)
    assert current_triggers(client, ["given"]) == ["given"]  # not a run of a deployment
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(uuid4()))
    assert current_triggers(client, ["given"]) == ["new"]
    stored["triggers"] = []
    assert current_triggers(client, ["given"]) == []
