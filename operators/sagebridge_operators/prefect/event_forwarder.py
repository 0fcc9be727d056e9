"""A flow that reads an SQS queue and emits a Prefect event for each event that starts a pipeline.

The id of a Prefect event is made from the id of the message. An automation starts the deployment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.runtime import deployment

from sagebridge.authoring.definition_reader import read_parameter
from sagebridge.authoring.prefect_deployment import EVENT, SLUG
from sagebridge.errors import ParameterError
from sagebridge.model.event_messages import EventStart, event_starts
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.parameters import Parameter, coerce
from sagebridge_operators.backends.queues import (
    WAIT_SECONDS,
    delete_message,
    receive_messages,
    region_of,
)
from sagebridge_operators.prefect.flow_backends import backend_of, records_settings
from sagebridge_operators.run_errors import EventsRejected

_EXECUTED, _FAILED = "prefect.automation.action.executed", "prefect.automation.action.failed"
SECONDS = 300
"""How often the flow is to be started; each run reads the queue until the next one."""
_PATIENCE = 30.0
"""How long to wait for the automations; Prefect stores events every five seconds."""
_LARGEST = 2**63 - 1
"""Prefect's server refuses larger integers, and with them all events of a request."""
_AT_ONCE = 20
"""Events in one request: the server returns up to 50 reactions."""


def forward_events(queue: str, triggers: list[str], seconds: float = SECONDS) -> int:
    """Forward the messages of a queue to the automations of the triggers.

    A message is deleted once its runs were created. If a run was not created, the message arrives
    again after a minute; runs that exist are not created again.

    Args:
        queue: the URL of the SQS queue.
        triggers: the results of :func:`~sagebridge.authoring.prefect_deployment.trigger_record` as
            JSON strings: Prefect renders objects, and patterns come from a definition.
        seconds: how long to read the queue. Deploy the flow with a schedule of the same length.

    Returns the number of forwarded events. Raises EventsRejected if a trigger rejects events.
    """
    settings = {"backend": "aws", **records_settings()}
    if region := region_of(queue):
        settings["region_name"] = region
    sqs = backend_of(settings).client("sqs")
    until = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        forwarder = Forwarder(client)
        while (left := until - time.monotonic()) > 0:
            messages = receive_messages(sqs, queue, min(WAIT_SECONDS, int(left)))
            current = current_triggers(client, triggers)
            if not current:  # the deployment was deleted
                break
            forwarder.triggers = [ForwardedTrigger.of(json.loads(one)) for one in current]
            for message in forwarder.forward(messages):
                delete_message(sqs, queue, message)
    if forwarder.problems:
        raise EventsRejected(forwarder.problems)
    return len(forwarder.forwarded)


forwarder = Flow(forward_events, name="sagebridge-events")
"""The flow of :func:`forward_events`."""


def current_triggers(client: Any, given: list[str]) -> list[str]:
    """The triggers of this flow run's deployment, which a new deployment may have changed."""
    if deployment.id is None:
        return given
    try:
        found: list[str] = client.read_deployment(UUID(deployment.id)).parameters["triggers"]
    except ObjectNotFound:
        return []
    return found


@dataclass(frozen=True, slots=True)
class ForwardedTrigger:
    """An event trigger of a deployment, from the record in the parameters of the flow."""

    trigger: EventTrigger
    resource: str
    arguments: dict[str, str]
    declared: tuple[Parameter, ...]

    @classmethod
    def of(cls, record: dict[str, Any]) -> ForwardedTrigger:
        trigger = EventTrigger(record["name"], record["pattern"], record["parameters"])
        declared = tuple(
            replace(
                one,
                limits=record["limits"].get(one.name, {}),
                nullable=one.name in record.get("nullable", ()),  # a record of an older release
            )
            for one in map(read_parameter, record["declared"])
            if one is not None
        )
        return cls(trigger, record["resource"], record["arguments"], declared)

    def event(self, start: EventStart) -> dict[str, Any]:
        """The Prefect event. Raises ParameterError for values that the pipeline rejects."""
        if start.problems:
            raise ParameterError(start.problems)
        values = coerce(self.declared, start.values)
        for name in start.values:
            if isinstance(values[name], int) and not -_LARGEST <= values[name] <= _LARGEST:
                raise ParameterError([f"parameter {name!r} is larger than 64 bits"])
        return {
            "id": str(uuid5(NAMESPACE_URL, f"{self.resource} {start.id}")),
            "occurred": datetime.now(UTC).isoformat(),
            "event": EVENT,
            "resource": {
                "prefect.resource.id": self.resource,
                "prefect.resource.name": self.trigger.name,
            },
            "payload": {
                "message": start.id,
                "parameters": {self.arguments[name]: values[name] for name in start.values},
            },
        }


@dataclass(frozen=True, slots=True)
class Reaction:
    """An action of an automation; ``reason`` is why it failed, or empty."""

    id: str
    event: str
    reason: str

    @classmethod
    def of(cls, body: dict[str, Any]) -> Reaction:
        role, name = "prefect.resource.role", "prefect.resource.id"
        found = [one[name] for one in body["related"] if one[role] == "triggering-event"]
        given = body["payload"]
        why = str(given.get("validation_error") or given.get("reason") or "it failed")
        event = "".join(found).removeprefix("prefect.event.")
        return cls(body["id"], event, "" if body["event"] == _EXECUTED else why)


@dataclass(slots=True)
class Forwarder:
    """Sends events to a Prefect server, and remembers what it rejected."""

    client: Any
    triggers: Sequence[ForwardedTrigger] = ()
    patience: float = _PATIENCE
    forwarded: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def forward(self, messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Forward the events of messages, and return the messages to delete.

        They include messages with rejected values, which would be rejected again.
        """
        found = [(message, list(self._events(message))) for message in messages]
        events = {one["id"]: one for _, several in found for one in several}
        failed: dict[str, str] = {}
        names = list(events)
        for first in range(0, len(names), _AT_ONCE):
            failed |= self._send({name: events[name] for name in names[first : first + _AT_ONCE]})
        for message, several in found:
            if not any(one["id"] in failed for one in several):
                yield message

    def _events(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for one in self.triggers:
            for start in event_starts(one.trigger, message):
                try:
                    yield one.event(start)
                except ParameterError as error:
                    self._problem(f"message {start.id} of trigger {one.trigger.name!r}: {error}")

    def _send(self, events: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Send events that have not started a run yet; returns the reasons of failed actions.

        The server stores an event, and then starts a run. An event of an earlier try is sent again
        unless its run was created.
        """
        before = self._reactions(events)
        executed = {one.event for one in before if not one.reason}
        new = [one for name, one in events.items() if name not in executed]
        if not new:
            return {}
        # emit_event() returns before the server has the event (prefect/events/utilities.py).
        self._post("/events", new)
        wanted = {one["id"] for one in new}
        until, failed = time.monotonic() + self.patience, dict[str, str]()
        while wanted - executed - failed.keys() and time.monotonic() < until:
            time.sleep(0.5)
            reactions = [one for one in self._reactions(wanted) if one not in before]
            executed = {one.event for one in reactions if not one.reason}
            failed = {one.event: one.reason for one in reactions if one.event not in executed}
        for name in sorted(failed):
            self._problem(f"event {name} started no run: {failed[name]}")
        # The server is slow or was restarted, or it ignores an event that it has seen in the last
        # half hour (SEEN_EXPIRATION in prefect/server/events/ordering).
        for name in sorted(self._awaited(events[one] for one in wanted - executed - failed.keys())):
            get_run_logger().warning("event %s has started no run; it will be sent again", name)
            failed[name] = "no automation has reacted"
        self.forwarded |= wanted - failed.keys()
        return failed

    def _awaited(self, events: Iterable[dict[str, Any]]) -> set[str]:
        """The ids of the events whose automations are enabled."""
        names = {
            one["id"]: one["resource"]["prefect.resource.id"].replace(f"{EVENT}.", SLUG, 1)
            for one in events
        }
        if not names:
            return set()
        query = {"automations": {"name": {"any_": sorted(set(names.values()))}}}
        found = self._post("/automations/filter", query)
        enabled = {one["name"] for one in found if one["enabled"]}
        return {event for event, name in names.items() if name in enabled}

    def _reactions(self, ids: Iterable[str]) -> list[Reaction]:
        """What the automations have done for these events."""
        query = {
            "event": {"name": [_EXECUTED, _FAILED]},
            "related": {"id": [f"prefect.event.{one}" for one in ids]},
        }
        found = self._post("/events/filter", {"filter": query, "limit": 50})["events"]
        return [Reaction.of(one) for one in found]

    def _post(self, path: str, body: Any) -> Any:
        answer = self.client._client.post(path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _problem(self, text: str) -> None:
        get_run_logger().error("%s", text)
        self.problems.append(text)
