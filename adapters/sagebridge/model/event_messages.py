"""The events in messages of an SQS queue, and the executions that they start.

EventBridge rules, S3 notifications and SNS topics put different JSON into a queue. All become
events as EventBridge delivers them, so that one pattern and one path fit all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from sagebridge.errors import ParameterError
from sagebridge.model.display import shown, words
from sagebridge.model.event_patterns import matches
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.values import Value, thaw

_PATH = re.compile(r"\$(\.[\w-]+|\[[0-9]{1,9}\]|\['[^']*'\])*")
_PART = re.compile(r"\.([\w-]+)|\[(\d+)\]|\['([^']*)'\]")
_IN_TEXT = re.compile(r"<((?:\$|aws\.)[^<>]*)>")
_RECORD_FIELDS = words(
    "messageId body attributes messageAttributes eventSource eventSourceARN awsRegion"
)
"""The fields of an SQS message in EventBridge Pipes. No EventBridge event has them."""
# The events of S3 notifications, as S3 sends them to EventBridge: detail-type and reason
# ("EventBridge event message structure" and "Mapping event types" in the S3 guide).
_S3_EVENTS: Mapping[str, tuple[str, str]] = {
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Post": ("Object Created", "POST Object"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", "DeleteObject"),
    "LifecycleExpiration:Delete": ("Object Deleted", "Lifecycle Expiration"),
    "LifecycleExpiration:DeleteMarkerCreated": ("Object Deleted", "Lifecycle Expiration"),
    "ObjectRestore:Post": ("Object Restore Initiated", ""),
    "ObjectRestore:Completed": ("Object Restore Completed", ""),
    "ObjectRestore:Delete": ("Object Restore Expired", ""),
    "LifecycleTransition": ("Object Storage Class Changed", ""),
    "IntelligentTiering": ("Object Access Tier Changed", ""),
    "ObjectTagging:Put": ("Object Tags Added", ""),
    "ObjectTagging:Delete": ("Object Tags Deleted", ""),
    "ObjectAcl:Put": ("Object ACL Updated", ""),
}


@dataclass(frozen=True, slots=True)
class EventStart:
    """An execution that a message starts.

    Args:
        id: derived from the id of the message, so it is the same each time the message is received.
        values: parameters as the trigger maps them, not yet converted to the declared types.
        problems: why there are no values, one line each.
    """

    id: str
    values: Mapping[str, Value]
    problems: tuple[str, ...] = ()


def event_starts(trigger: EventTrigger, message: Mapping[str, Any]) -> list[EventStart]:
    """The executions that one message starts: one per event that matches the pattern.

    ``message`` is an item of ``Messages`` in the response of ReceiveMessage.
    """
    try:
        return list(_starts(trigger, message))
    except RecursionError:
        return [EventStart(message["MessageId"], {}, ("its JSON is nested too deeply",))]


def _starts(trigger: EventTrigger, message: Mapping[str, Any]) -> Iterator[EventStart]:
    record = message_record(message)
    events: list[Mapping[str, Any]] = [{**record, **one} for one in events_of(message["Body"])]
    if not events or _reads_message(trigger):
        events = [record | (dict(events[0]) if len(events) == 1 else {})]
    for number, event in enumerate(events, 1):
        if not matches(trigger.pattern, event):
            continue
        name = message["MessageId"] if number == 1 else f"{message['MessageId']}-{number}"
        try:
            yield EventStart(name, parameter_values(trigger, event))
        except ParameterError as error:
            yield EventStart(name, {}, error.problems)


def events_of(body: str) -> list[dict[str, Any]]:
    """The EventBridge events in the body of a message; none if it contains something else.

    S3's own notifications become the events that S3 sends to EventBridge. An event that came
    through an SNS topic is unwrapped.
    """
    content = _json(body)
    if not isinstance(content, dict):
        return []
    if "detail-type" in content and "source" in content:
        return [content]
    if content.get("Type") == "Notification" and isinstance(content.get("Message"), str):
        return events_of(content["Message"])
    records = content.get("Records")
    return (
        [one for record in records if (one := _s3_event(record))]
        if isinstance(records, list)
        else []
    )


def message_record(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as EventBridge Pipes passes it on: a body that is JSON is parsed."""
    body = message["Body"]
    content = _json(body)
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "body": content if isinstance(content, dict | list) else body,
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {key[:1].lower() + key[1:]: item for key, item in value.items()}
            for name, value in attributes.items()
        },
        "eventSource": "aws:sqs",
    }


def parameter_values(trigger: EventTrigger, event: Mapping[str, Any]) -> dict[str, Value]:
    """The values of the trigger's parameters for an event, not yet converted.

    Raises :class:`~sagebridge.errors.ParameterError` with all fields that the event lacks.
    """
    values: dict[str, Value] = {}
    problems: list[str] = []
    for name, given in trigger.parameters.items():
        try:
            values[name] = _value(given, event)
        except _FieldError as wrong:
            problems.append(f"parameter {name!r}: {wrong}")
    if problems:
        raise ParameterError(problems)
    return values


def mapping_problems(trigger: EventTrigger) -> list[str]:
    """Paths of the trigger's parameters that no event can have: one line per parameter."""
    problems = []
    for name, given in trigger.parameters.items():
        wrong = [path for path in _paths(given) if not _PATH.fullmatch(path)]
        if wrong:
            problems.append(f"parameter {name!r}: {_not_a_path(wrong[0])}")
    return problems


def is_constant(given: Value) -> bool:
    """Whether a parameter has the same value for each event, as it has no path."""
    return not _paths(given)


class _FieldError(ValueError):
    """A field that the event lacks, or that is not a single value."""


def _value(given: Value, event: Mapping[str, Any]) -> Value:
    if not isinstance(given, str):
        return thaw(given)
    if _is_path(given):
        return _field(given, event)

    def text(match: re.Match[str]) -> str:
        value = _field(match[1], event)
        return value if isinstance(value, str) else json.dumps(value)

    return _IN_TEXT.sub(text, given)


def _field(path: str, event: Mapping[str, Any]) -> Value:
    if not _PATH.fullmatch(path):
        raise _FieldError(_not_a_path(path))
    value: Any = event
    for name, index, quoted in _PART.findall(path):
        key: str | int = int(index) if index else name or quoted
        found = (
            key < len(value)
            if isinstance(value, list) and isinstance(key, int)
            else (isinstance(value, Mapping) and key in value)
        )
        if not found:
            raise _FieldError(f"the event has no {path}")
        value = value[key]
    if value is None or isinstance(value, Mapping | list):
        what = "null" if value is None else "a list" if isinstance(value, list) else "an object"
        raise _FieldError(f"{path} of the event is {what}, expected one value")
    return value


def _paths(given: Value) -> list[str]:
    if not isinstance(given, str):
        return []
    return [given] if _is_path(given) else _IN_TEXT.findall(given)


def _is_path(text: str) -> bool:
    return text == "$" or text.startswith(("$.", "$["))


def _not_a_path(path: str) -> str:
    return f"{shown(path)} is not supported; expected a path such as $.detail.object.key"


def _reads_message(trigger: EventTrigger) -> bool:
    """Whether the trigger reads fields of messages, as EventBridge Pipes do, not of events."""
    names = set(_pattern_fields(trigger.pattern))
    for given in trigger.parameters.values():
        names.update(_PART.findall(path)[0][0] for path in _paths(given) if _PART.search(path))
    return not names or not names.isdisjoint(_RECORD_FIELDS)


def _pattern_fields(pattern: Mapping[str, Value]) -> Iterator[str]:
    for name, value in pattern.items():
        if name == "$or" and isinstance(value, list | tuple):
            for one in value:
                yield from _pattern_fields(one)
        else:
            yield name


def _s3_event(record: Any) -> dict[str, Any]:
    """A record of an S3 notification as the event that S3 sends to EventBridge."""
    if not isinstance(record, dict) or record.get("eventSource") != "aws:s3":
        return {}
    name = str(record.get("eventName", "")).removeprefix("s3:")
    kind, reason = _S3_EVENTS.get(name, (name, ""))
    s3 = _object(record, "s3")
    bucket, item = _object(s3, "bucket"), _object(s3, "object")
    fields = {
        "key": unquote_plus(str(item.get("key", ""))),
        "size": item.get("size"),
        "etag": item.get("eTag"),
        "version-id": item.get("versionId"),
        "sequencer": item.get("sequencer"),
    }
    detail = {
        "version": "0",
        "bucket": {"name": bucket.get("name")},
        "object": {name: value for name, value in fields.items() if value is not None},
        "request-id": _object(record, "responseElements").get("x-amz-request-id"),
        "requester": _object(record, "userIdentity").get("principalId"),
        "source-ip-address": _object(record, "requestParameters").get("sourceIPAddress"),
        "reason": reason or None,
    }
    return {
        "version": "0",
        "detail-type": kind,
        "source": "aws.s3",
        "time": record.get("eventTime"),
        "region": record.get("awsRegion"),
        "resources": [bucket["arn"]] if "arn" in bucket else [],
        "detail": {name: value for name, value in detail.items() if value is not None},
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}
