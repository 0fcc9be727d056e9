"""Event triggers of assets whose watchers read an SQS queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.connections import AIRFLOW_DEFAULTS
from sagebridge.model.display import free_name, shown
from sagebridge.model.event_triggers import EventTrigger, sqs_message

_FILTERS = ("message_filtering", "message_filtering_config", "message_filtering_match_values")


class NoTrigger(Exception):
    """Why a watcher becomes no event trigger."""


def asset_triggers(condition: Any) -> tuple[list[EventTrigger], list[Unsupported], list[str]]:
    """The event triggers of the assets that start a DAG, their losses, and unsupported assets."""
    found: list[EventTrigger] = []
    losses: list[Unsupported] = []
    problems = []
    for asset in _alternatives(condition):
        watchers = getattr(asset, "watchers", ())
        for watcher in watchers:
            name = free_name(watcher.name, {one.name for one in found}, separator="-")
            path, arguments = _serialized(watcher.trigger)
            try:
                found.append(sqs_message(name, _queue(watcher.name, path, arguments)))
            except NoTrigger as why:
                problems.append(str(why))
                continue
            losses += _connection_losses(watcher.name, arguments)
        if type(asset).__name__ == "AssetAll":
            problems.append("it needs all of its assets; an event trigger needs one event")
        elif not watchers:
            text = getattr(asset, "uri", None) or getattr(asset, "name", type(asset).__name__)
            problems.append(f"other DAGs update the asset {shown(text)}")
    return found, losses, problems


def _alternatives(condition: Any) -> Iterator[Any]:
    """The assets that each start the DAG, and conditions that need several."""
    kind = type(condition).__name__
    if kind == "AssetAny" or (kind == "AssetAll" and len(condition.objects) == 1):
        for one in condition.objects:
            yield from _alternatives(one)
    else:
        yield condition


def _queue(name: str, path: str, arguments: Mapping[str, Any]) -> str:
    """The URL of the queue that a watcher reads."""
    queue = arguments.get("sqs_queue") or arguments.get("queue")
    if not isinstance(queue, str) or "sqs" not in f"{path} {queue}".lower():
        raise NoTrigger(f"the watcher {shown(name)} does not read an SQS queue")
    if any(arguments.get(one) is not None for one in _FILTERS):
        raise NoTrigger(f"the watcher {shown(name)} filters messages; use a pattern")
    return queue


def _connection_losses(name: str, arguments: Mapping[str, Any]) -> Iterator[Unsupported]:
    given = {one: arguments.get(one) for one in AIRFLOW_DEFAULTS if one in arguments}
    if others := [one for one, value in given.items() if value not in (None, "aws_default")]:
        what = f"{', '.join(others)} of the watcher {shown(name)} has no effect"
        advice = "give its queue the permissions that the pipeline needs"
        yield Unsupported("aws-connection", "changed", what, advice)


def _serialized(trigger: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(trigger, Mapping):
        return str(trigger.get("classpath", "")), trigger.get("kwargs", {})
    path, arguments = trigger.serialize()
    return path, arguments
