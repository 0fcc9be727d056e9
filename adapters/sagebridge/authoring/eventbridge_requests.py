"""Requests of EventBridge Scheduler, EventBridge and Pipes as schedules and triggers, and back.

A rule or pipe that starts a pipeline is a trigger; a rule with a schedule expression is a schedule.
Keys that have no field in the model are kept in ``extra``, as is a value of an unexpected type:

- of a CreateSchedule request, all keys under their own names;
- of a rule, the keys of PutRule below ``Rule`` for a schedule and under their own names for a
  trigger, and those of its target below ``Target``;
- of a pipe, the keys of CreatePipe below ``Pipe``, and its target's ARN below ``Target``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sagebridge.authoring.aws_arns import queue_url
from sagebridge.authoring.definition_reader import ObjectReader, string
from sagebridge.authoring.json_document import depth_of
from sagebridge.model.display import word_set
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.schedule_expressions import (
    Cron,
    ExpressionError,
    Rate,
    Rrule,
    parse_expression,
)
from sagebridge.model.schedules import SCHEDULED_TIME, Schedule, in_utc
from sagebridge.model.unix_cron import from_unix
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Value, freeze, thaw

TARGET_ID = "pipeline"
"""The id of a pipeline among the targets of a rule, if none is given."""
_TIME = "$.time"
"""The time of the slot, in the event that a rule with a schedule expression sends."""
_EVENT_KEYS = word_set(
    "account detail detail-type id region replay-name resources source time version"
)
"""The keys of an EventBridge event."""


class WrongRequest(ValueError):
    """A request that is not a schedule, rule or pipe."""


def read_schedule(request: Mapping[str, Any]) -> Schedule:
    """The schedule of a CreateSchedule request or GetSchedule response.

    Raises :class:`WrongRequest`.
    """
    own = ObjectReader(request)
    target = ObjectReader(_object(own.left.pop("Target", None)))
    name, expression = _required(own, "Name"), _required(own, "ScheduleExpression")
    zone = own.take("ScheduleExpressionTimezone", string)
    return Schedule(
        name,
        expression,
        timezone="UTC" if zone is ABSENT else zone,
        start=own.take("StartDate", instant),
        end=own.take("EndDate", instant),
        enabled=_take_state(own, "State", "ENABLED", "DISABLED"),
        flexible_minutes=_take_window(own),
        description=own.take("Description", string),
        parameters=_take_parameters(target),
        max_age_seconds=_take_age(target),
        extra=Object({**own.extra(), **_rest("Target", target)}),
    )


def read_rule(rule: Mapping[str, Any], target: Mapping[str, Any]) -> tuple[Starter, ...]:
    """The schedule or trigger of a PutRule request, with the pipeline among its targets.

    A rule may have both a schedule expression and a pattern. Raises :class:`WrongRequest`.
    """
    own, to = ObjectReader(rule), ObjectReader(target)
    name = _required(own, "Name")
    if to.left.get("Id") == TARGET_ID:
        del to.left["Id"]
    enabled = _take_state(own, "State", "ENABLED", "DISABLED")
    description = own.take("Description", string)
    expression = own.take("ScheduleExpression", string)
    pattern = own.left.pop("EventPattern", None)
    parameters = _take_parameters(to)
    result: list[Starter] = []
    if pattern is not None:
        found = freeze(_pattern(pattern))
        extra = Object({**own.extra(), **_rest("Target", to)})
        result.append(EventTrigger(name, found, parameters, ABSENT, enabled, description, extra))
    if expression is not ABSENT:
        age = _take_age(to)
        given = {k: SCHEDULED_TIME if v == _TIME else v for k, v in parameters.items()}
        result.append(
            Schedule(
                name,
                expression,
                enabled=enabled,
                description=description,
                parameters=given,
                max_age_seconds=age,
                extra=Object({"Rule": own.extra(), **_rest("Target", to)}),
            )
        )
    if not result:
        raise WrongRequest(f"rule {name!r} has neither ScheduleExpression nor EventPattern")
    return tuple(result)


def read_pipe(pipe: Mapping[str, Any]) -> EventTrigger:
    """The trigger of a CreatePipe request from a queue, without its target.

    Raises :class:`WrongRequest`.
    """
    own = ObjectReader(pipe)
    name, source = _required(own, "Name"), _required(own, "Source")
    queue = queue_url(source)
    if queue is None:
        raise WrongRequest(f"the source of pipe {name!r} is not an SQS queue: {source}")
    to = ObjectReader(_object(own.left.pop("TargetParameters", None)))
    origin = ObjectReader(_object(own.left.pop("SourceParameters", None)))
    parameters = _take_parameters(to)
    pattern = origin.take("FilterCriteria", _filters)
    if origin.left.get("SqsQueueParameters") == {"BatchSize": 1}:
        del origin.left["SqsQueueParameters"]
    own.left.pop("Target", None)
    enabled = _take_state(own, "DesiredState", "RUNNING", "STOPPED")
    description = own.take("Description", string)
    rest = {
        **own.extra(),
        **_rest("TargetParameters", to),
        **_rest("SourceParameters", origin),
    }
    pattern = EMPTY if pattern is ABSENT else pattern
    if _wraps_event(pattern, parameters):
        pattern = pattern["body"]
        parameters = Object({k: _without_body(v) for k, v in parameters.items()})
    extra = {"Pipe": Object(rest)} if rest or pattern else EMPTY
    return EventTrigger(name, pattern, parameters, queue, enabled, description, extra)


def write_schedule(
    schedule: Schedule, expression: str, name: str, arn: Any, role: Any
) -> dict[str, Any]:
    """A CreateSchedule request. ``arn`` and ``role`` are those of its target, or ABSENT."""
    target = _object(thaw(schedule.extra.get("Target", EMPTY)))
    window = (
        {"Mode": "OFF"}
        if schedule.flexible_minutes is ABSENT
        else {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": schedule.flexible_minutes}
    )
    return {
        **_present(
            Name=name,
            ScheduleExpression=expression,
            ScheduleExpressionTimezone=schedule.timezone,
            StartDate=schedule.start,
            EndDate=schedule.end,
            State=_state(schedule, schedule.extra, "State", "ENABLED", "DISABLED"),
            Description=schedule.description,
            FlexibleTimeWindow=window,
        ),
        **thaw(schedule.extra.without("Target", "Rule", "State")),
        "Target": _target(target, arn, role, schedule.parameters, schedule.max_age_seconds),
    }


def write_rule(
    item: Starter, expression: str, name: str, arn: Any, role: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A PutRule request without its bus, and the pipeline among the rule's targets."""
    extra = item.extra.get("Rule", EMPTY) if isinstance(item, Schedule) else item.extra
    parameters: Object = item.parameters
    age: int | Absent = ABSENT
    own: dict[str, Any] = {}
    if isinstance(item, Schedule):
        own["ScheduleExpression"], age = expression, item.max_age_seconds
        given = {k: _TIME if v == SCHEDULED_TIME else v for k, v in parameters.items()}
        parameters = Object(given)
    else:
        own["EventPattern"] = json.dumps(thaw(item.pattern), ensure_ascii=False)
    rule = {
        "Name": name,
        **own,
        **_present(
            State=_state(item, extra, "State", "ENABLED", "DISABLED"), Description=item.description
        ),
        **thaw(Object(extra).without("Target", "Pipe", "State")),
    }
    given_target = _object(thaw(item.extra.get("Target", EMPTY)))
    return rule, {"Id": TARGET_ID, **_target(given_target, arn, role, parameters, age)}


def write_pipe(trigger: EventTrigger, queue: str, name: str, arn: Any, role: Any) -> dict[str, Any]:
    """A CreatePipe request. ``queue`` is the ARN of its source."""
    given = trigger.extra.get("Pipe", EMPTY)
    extra = thaw(given.without("RoleArn", "DesiredState"))
    pattern, parameters = trigger.pattern, trigger.parameters
    if pattern and pattern.keys() <= _EVENT_KEYS:
        pattern = Object({"body": pattern})
        parameters = Object({k: _with_body(v) for k, v in parameters.items()})
    origin = {"SqsQueueParameters": {"BatchSize": 1}, **extra.pop("SourceParameters", {})}
    if pattern:
        text = json.dumps(thaw(pattern), ensure_ascii=False)
        origin["FilterCriteria"] = {"Filters": [{"Pattern": text}]}
    to = {**_list(parameters), **extra.pop("TargetParameters", {})}
    return {
        **_present(
            Name=name,
            Description=trigger.description,
            DesiredState=_state(trigger, given, "DesiredState", "RUNNING", "STOPPED"),
            Source=queue,
            SourceParameters=origin,
            RoleArn=role,
        ),
        **extra,
        "Target": arn,
        **({"TargetParameters": to} if to else {}),
    }


def eventbridge_expression(schedule: Schedule) -> str | None:
    """The expression as EventBridge writes it; None if EventBridge cannot express it.

    An invalid expression is returned unchanged.
    """
    text = schedule.expression
    try:
        timing = parse_expression(text)
    except ExpressionError:
        return text
    match timing:
        case Rrule():
            return None
        case Rate(delta=delta) if "second" in text:
            minutes, rest = divmod(int(delta.total_seconds()), 60)
            return None if rest or not minutes else f"rate({minutes} minute{'s'[: minutes > 1]})"
        case Cron() if text.strip().startswith("unix("):
            written = from_unix(text.strip()[5:-1])
            return written if written.startswith("cron(") else None
    return text


def instant(raw: Any) -> str | None:
    """A time of a request in ISO 8601: a number of seconds, or a text, in UTC without a zone."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        try:
            return in_utc(datetime.fromtimestamp(raw, UTC))
        except (OverflowError, ValueError, OSError):
            return None
    if not isinstance(raw, str):
        return None
    try:
        naive = datetime.fromisoformat(raw).tzinfo is None
    except ValueError:
        return raw
    if not naive:
        return raw
    return f"{raw}Z" if "T" in raw else f"{raw}T00:00:00Z"


def composed(parameters: Mapping[str, Value]) -> list[str]:
    """The parameters with a text around paths, which rules and pipes cannot compute."""
    return [name for name, v in parameters.items() if isinstance(v, str) and "<$." in v]


def _required(reader: ObjectReader, name: str) -> str:
    found = reader.take(name, string)
    if found is ABSENT:
        raise WrongRequest(f"{name}: expected a string")
    return str(found)


def _object(raw: Any) -> dict[str, Any]:
    return dict(raw) if isinstance(raw, Mapping) else {}


def _rest(name: str, reader: ObjectReader) -> dict[str, Object]:
    return {name: reader.extra()} if reader.left else {}


def _take_state(reader: ObjectReader, key: str, on: str, off: str) -> bool:
    """Whether it is on; off if the state is not known. Both are on by default."""
    if key not in reader.left:
        return True
    if reader.left[key] in (on, off):
        return bool(reader.left.pop(key) == on)
    return _is_on(reader.left[key], on)


def _state(item: Starter, extra: Mapping[str, Value], key: str, on: str, off: str) -> Any:
    """The state of a request: the one in ``extra``, unless the item was turned on or off since."""
    if key in extra and _is_on(extra[key], on) == item.enabled:
        return thaw(extra[key])
    return on if item.enabled else off


def _is_on(state: Value, on: str) -> bool:
    """Whether a state other than ``on`` and ``off`` means on, as ENABLED_WITH_… of a rule."""
    return str(state).startswith(f"{on}_")


def _take_window(reader: ObjectReader) -> int | Absent:
    match reader.left.get("FlexibleTimeWindow"):
        case {"Mode": "OFF", **rest} if not rest:
            del reader.left["FlexibleTimeWindow"]
        case {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": given, **rest} if not rest:
            if (minutes := _integer(given)) is not None:
                del reader.left["FlexibleTimeWindow"]
                return minutes
    return ABSENT


def _take_age(target: ObjectReader) -> int | Absent:
    match target.left.get("RetryPolicy"):
        case {"MaximumEventAgeInSeconds": given, **rest} if (age := _integer(given)) is not None:
            target.left["RetryPolicy"] = rest
            if not rest:
                del target.left["RetryPolicy"]
            return age
    return ABSENT


def _integer(given: Any) -> int | None:
    """A number of a request; CloudFormation also takes its digits."""
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,9}", given):
        return int(given)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _take_parameters(target: ObjectReader) -> Object:
    match target.left.get("SageMakerPipelineParameters"):
        case {"PipelineParameterList": list(items), **rest} if not rest:
            pass
        case {**rest} if not rest and "SageMakerPipelineParameters" in target.left:
            items = []
        case _:
            return EMPTY
    found: dict[str, str] = {}
    for item in items:
        match item:
            case {"Name": str(name), "Value": str(value), **rest} if not rest:
                found[name] = value
    if len(found) != len(items):
        return EMPTY  # kept as it is, in extra
    del target.left["SageMakerPipelineParameters"]
    return Object(found)


_DEEPEST = 100
"""Levels of a pattern, which is part of a larger document in a written file."""


def _pattern(raw: Any) -> dict[str, Any]:
    """An event pattern: JSON in a request, an object in a template."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise WrongRequest(f"EventPattern is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise WrongRequest("EventPattern: expected an object")
    if depth_of(raw) > _DEEPEST:
        raise WrongRequest(f"EventPattern is nested too deeply (limit: {_DEEPEST} levels)")
    return raw


def _filters(raw: Any) -> Object | None:
    match raw:
        case {"Filters": list(filters), **rest} if not rest and filters:
            patterns = [_pattern(one.get("Pattern")) for one in filters if isinstance(one, dict)]
            found: Object = freeze(patterns[0] if len(patterns) == 1 else {"$or": patterns})
            return found
    return None


def _wraps_event(pattern: Mapping[str, Value], parameters: Mapping[str, Value]) -> bool:
    """Whether a pipe's filter and paths are about an EventBridge event in the message's body."""
    body = pattern.get("body") if list(pattern) == ["body"] else None
    if not isinstance(body, Mapping) or not body or not body.keys() <= _EVENT_KEYS:
        return False
    paths = [v for v in parameters.values() if isinstance(v, str) and "$." in v]
    return all(path.startswith("$.body.") for path in paths)


def _without_body(value: Value) -> Value:
    return f"$.{value.removeprefix('$.body.')}" if str(value).startswith("$.body.") else value


def _with_body(value: Value) -> Value:
    return f"$.body.{value[2:]}" if isinstance(value, str) and value.startswith("$.") else value


def _target(
    given: dict[str, Any], arn: Any, role: Any, parameters: Mapping[str, Value], age: Any
) -> dict[str, Any]:
    result = {**given, **_present(Arn=arn, RoleArn=role), **_list(parameters)}
    if age is not ABSENT:
        result["RetryPolicy"] = {**_object(result.get("RetryPolicy")), _AGE: age}
    return {key: result[key] for key in (*_FIRST, *result) if key in result}


_AGE = "MaximumEventAgeInSeconds"
_FIRST = ("Arn", "RoleArn")


def _list(parameters: Mapping[str, Value]) -> dict[str, Any]:
    """``SageMakerPipelineParameters``; values of a request are strings."""
    if not parameters:
        return {}
    items = [{"Name": name, "Value": _text(value)} for name, value in parameters.items()]
    return {"SageMakerPipelineParameters": {"PipelineParameterList": items}}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(thaw(value))


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not ABSENT}


def is_rule(schedule: Schedule) -> bool:
    """Whether a schedule is that of an EventBridge rule: in UTC, without ``at``, start and end."""
    own = (schedule.start, schedule.end, schedule.flexible_minutes)
    plain = own == (ABSENT,) * 3 and schedule.timezone == "UTC"
    return plain and "Rule" in schedule.extra and not schedule.expression.startswith("at(")


def is_pipe(trigger: EventTrigger) -> bool:
    """Whether a pipe starts the pipeline, for messages of a queue; otherwise a rule does."""
    return trigger.queue is not ABSENT and ("Pipe" in trigger.extra or not trigger.pattern)
