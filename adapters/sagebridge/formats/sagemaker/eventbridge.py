"""Read documents of EventBridge: schedules, rules and pipes that start a pipeline.

A document has lists of requests by operation: ``{"CreateSchedule": […], "PutRule": […],
"PutTargets": […], "CreatePipe": […]}``. A single request, a GetSchedule response, a rule with its
``Targets``, and a list of these are documents, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagebridge.authoring.aws_arns import queue_url, target_parts
from sagebridge.authoring.eventbridge_requests import (
    WrongRequest,
    read_pipe,
    read_rule,
    read_schedule,
)
from sagebridge.authoring.scheduled_pipeline import with_free_names
from sagebridge.model.display import shown, words
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.losses import Loss
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import Object

OPERATIONS = ("CreateSchedule", "PutRule", "PutTargets", "CreatePipe")
_RESPONSE_ONLY = words(
    "Arn CreatedBy CreationDate CreationTime CurrentState LastModificationDate "
    "LastModifiedTime ManagedBy ResponseMetadata StateReason"
)
"""Fields of GetSchedule, DescribeRule and DescribePipe responses that AWS sets itself."""


class NoSchedules(ValueError):
    """A document without a readable schedule or trigger; ``fix`` is the advice."""

    def __init__(self, problem: str, fix: str = "") -> None:
        self.fix = fix
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Starters:
    """The schedules and triggers that start one pipeline, its name, and the losses of reading."""

    pipeline: str
    schedules: tuple[Schedule, ...]
    event_triggers: tuple[EventTrigger, ...]
    losses: tuple[Loss, ...]


def is_eventbridge(value: Any) -> bool:
    """Whether a JSON value is a document of EventBridge."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, dict) and _operation(one) for one in value)
    if not isinstance(value, dict):
        return False
    lists = [value[name] for name in OPERATIONS if name in value]
    return bool(_operation(value)) or bool(lists and all(isinstance(one, list) for one in lists))


def _operation(request: Mapping[str, Any]) -> str:
    """The operation of a single request or response; otherwise empty."""
    match request:
        case {"Source": str(), "Target": str()}:
            return "CreatePipe"
        case {"ScheduleExpression": _, "Target": dict()}:
            return "CreateSchedule"
        case {"Rule": str(), "Targets": list()}:
            return "PutTargets"
        case {"Name": _, "Targets": list(), **rest} if rest.keys() & _RULE_KEYS:
            return "PutRule"
    return ""


_RULE_KEYS = {"EventPattern", "ScheduleExpression"}


def read_document(value: Any, wanted: str = "") -> Starters:
    """The schedules and triggers of the pipeline ``wanted``, or of the only one.

    Raises :class:`NoSchedules`.
    """
    losses: list[Loss] = []
    return starters_of(_items(value, losses), losses, wanted)


def starters_of(
    items: Iterable[tuple[str, Starter]], losses: list[Loss], wanted: str = ""
) -> Starters:
    """The schedules and triggers, each with the ARN of its target, that start one pipeline.

    Raises :class:`NoSchedules`.
    """
    found: dict[str, tuple[str, list[Starter]]] = {}
    for arn, item in items:
        parts = target_parts(arn)
        if parts is None:
            losses.append(_other_target(item.name, arn))
            continue
        name = parts[1]
        found.setdefault(name.casefold(), (name, []))[1].append(keeping_arn(item, arn))
    if wanted:
        found = {key: one for key, one in found.items() if key == wanted.casefold()}
    if not found:
        missing = f"the pipeline {wanted!r}" if wanted else "a SageMaker pipeline"
        raise NoSchedules(f"no schedule, rule or pipe starts {missing}")
    if len(found) > 1:
        names = ", ".join(name for name, _ in found.values())
        raise NoSchedules(
            f"the document starts several pipelines: {names}", "add #NAME to the file"
        )
    ((name, own),) = found.values()
    return Starters(wanted or name, *with_free_names(own), tuple(losses))


def keeping_arn(item: Starter, arn: str) -> Starter:
    """A schedule or trigger with the ARN of its pipeline, which has the account and region."""
    if "${" in arn:
        return item
    target = Object({**item.extra.get("Target", {}), "Arn": arn})
    return replace(item, extra=Object({**item.extra, "Target": target}))


def _other_target(name: str, arn: str) -> Loss:
    what = f"{shown(name)} starts something else: {shown(arn)}; it is not carried over"
    return Loss("schedule", "info", "", what, "sagemaker")


@dataclass(frozen=True, slots=True)
class _Request:
    """A request and its pointer in the document."""

    pointer: str
    operation: str
    keys: dict[str, Any]

    @property
    def rule(self) -> tuple[str, str]:
        """The bus and name of the rule that it is about."""
        bus = str(self.keys.get("EventBusName", "default"))
        return bus, str(self.keys.get("Rule" if self.operation == "PutTargets" else "Name"))


def _items(value: Any, losses: list[Loss]) -> Iterator[tuple[str, Starter]]:
    """Each schedule or trigger with the ARN of its target. Raises :class:`NoSchedules`."""
    requests = list(_requests(value))
    targets: dict[tuple[str, str], list[Any]] = {}
    for one in requests:
        if one.operation in ("PutRule", "PutTargets"):
            given = one.keys.get("Targets")
            targets.setdefault(one.rule, []).extend(given if isinstance(given, list) else ())
    problems: list[str] = []
    for one in requests:
        keys = {key: item for key, item in one.keys.items() if key not in _RESPONSE_ONLY}
        if left := [key for key in one.keys if key not in keys and one.operation != "PutTargets"]:
            what = f"fields that AWS sets are not carried over: {', '.join(left)}"
            losses.append(Loss("beside-definition", "info", one.pointer, what, "sagemaker"))
        try:
            if one.operation == "CreateSchedule":
                arn, keys["Target"] = without_arn(keys.get("Target"))
                yield str(arn), read_schedule(keys)
            elif one.operation == "CreatePipe" and target_parts(str(keys.get("Target"))):
                pipe = read_pipe(keys)
                losses += changed_messages(pipe, one.pointer)
                yield str(keys["Target"]), pipe
            elif one.operation == "CreatePipe":
                losses.append(_other_target(str(keys.get("Name")), str(keys.get("Target"))))
            elif one.operation == "PutRule":
                keys.pop("Targets", None)
                found = list(map(without_arn, targets[one.rule]))
                queue, starts = queue_of(found), any(target_parts(str(arn)) for arn, _ in found)
                for arn, target in found:
                    if starts and queue is not None and queue_url(str(arn)) == queue:
                        continue
                    for item in read_rule(keys, target):
                        yield str(arn), with_queue(item, queue)
        except WrongRequest as error:
            problems.append(f"  {one.pointer or '/'}: {error}")
    if problems:
        raise NoSchedules("not requests of EventBridge:\n" + "\n".join(problems))


def queue_of(targets: Iterable[tuple[Any, Mapping[str, Any]]]) -> str | None:
    """The URL of the SQS queue that is one of the targets of a rule and gets unchanged events."""
    urls = [queue_url(str(arn)) for arn, keys in targets if keys.keys() <= {"Id"}]
    found = [url for url in urls if url is not None]
    return found[0] if len(found) == 1 else None


def with_queue(item: Starter, queue: str | None) -> Starter:
    """An event trigger with the queue in which the engines find its events."""
    return replace(item, queue=queue) if queue and isinstance(item, EventTrigger) else item


def without_arn(target: Any) -> tuple[Any, dict[str, Any]]:
    """The ARN of a target, and its other keys."""
    keys = dict(target) if isinstance(target, dict) else {}
    return keys.pop("Arn", ""), keys


def _requests(value: Any) -> Iterator[_Request]:
    if isinstance(value, list):
        for position, one in enumerate(value):
            yield _Request(f"/{position}", _operation(one), one)
    elif name := _operation(value):
        yield _Request("", name, value)
    else:
        for name in OPERATIONS:
            for position, one in enumerate(value.get(name, ())):
                pointer = f"/{name}/{position}"
                if not isinstance(one, dict):
                    raise NoSchedules(f"{pointer}: expected an object, got {shown(one)}")
                yield _Request(pointer, name, one)


def changed_messages(pipe: EventTrigger, pointer: str) -> Iterator[Loss]:
    """The loss of a pipe that changes messages before they start the pipeline."""
    own = pipe.extra.get("Pipe", {})
    keys = [*own, *own.get("TargetParameters", ())]
    if found := [key for key in ("Enrichment", "InputTemplate") if key in keys]:
        what = f"{found[0]} of pipe {shown(pipe.name)} changes its messages; only EventBridge does"
        fix = "send the changed messages to the queue"
        yield Loss("schedule", "changed", pointer, what, "sagemaker", fix)
