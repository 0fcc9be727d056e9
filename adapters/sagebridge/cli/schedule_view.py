"""Schedules and event triggers as commands show them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pendulum

from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.fire_times import fire_times, zone
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import ExpressionError, Rate
from sagebridge.model.schedule_words import in_words
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, Object, thaw
from sagebridge.terminal.wording import format_value


def now() -> pendulum.DateTime:
    """The present time in UTC, in whole seconds."""
    return pendulum.now("UTC").replace(microsecond=0)


def local(instant: datetime, schedule: Schedule) -> str:
    """A time in the time zone of the schedule: ``2026-12-01 04:00 CET``."""
    there = instant.astimezone(zone(schedule.timezone))
    return f"{there:%Y-%m-%d %H:%M{':%S' if there.second else ''} %Z}"


def utc(instant: datetime) -> str:
    return f"{pendulum.instance(instant).in_timezone('UTC'):%Y-%m-%dT%H:%M:%SZ}"


def next_run(schedule: Schedule) -> pendulum.DateTime | None:
    """The next time, also if the schedule is off; None if it has none or is not known.

    Without a start, a rate counts from the time at which an engine gets the schedule. Raises
    ExpressionError.
    """
    if isinstance(schedule.timing, Rate) and schedule.start is ABSENT:
        return None
    return next(fire_times(schedule, now()), None)


def schedule_notes(schedule: Schedule) -> Iterator[str]:
    """What is shown below the line of a schedule."""
    try:
        found = next_run(schedule) if schedule.enabled else None
    except ExpressionError as error:
        yield f"cannot be read: {error}"
        return
    if found is not None:
        later = found.diff_for_humans(now(), absolute=True)
        yield f"next run {local(found, schedule)}, in {later}"
    if schedule.flexible_minutes is not ABSENT:
        yield f"starts up to {schedule.flexible_minutes} minutes later"
    bounds = (("from", schedule.start), ("until", schedule.end))
    if given := [f"{name} {text}" for name, text in bounds if text is not ABSENT]:
        yield " ".join(given)
    yield from _common_notes(schedule.description, schedule.parameters)


def trigger_line(trigger: EventTrigger) -> str:
    """The events that start an execution."""
    if trigger.pattern:
        return f"each event that matches {format_value(trigger.pattern)}"
    return "each message of its queue"


def trigger_notes(trigger: EventTrigger) -> Iterator[str]:
    """What is shown below the line of a trigger."""
    if isinstance(trigger.queue, str):
        yield f"queue {trigger.queue}"
    yield from _common_notes(trigger.description, trigger.parameters)


def _common_notes(description: Any, parameters: Object) -> Iterator[str]:
    if isinstance(description, str):
        yield description
    for name, value in parameters.items():
        yield f"{name} = {format_value(value)}"


def starters_json(pipeline: Pipeline) -> dict[str, Any]:
    """The schedules and triggers of a pipeline as JSON; empty if there are none."""
    result: dict[str, Any] = {}
    if pipeline.schedules:
        result["schedules"] = [schedule_json(one) for one in pipeline.schedules]
    if pipeline.event_triggers:
        result["event_triggers"] = [
            {
                "name": one.name,
                "enabled": one.enabled,
                "pattern": thaw(one.pattern),
                **({} if one.queue is ABSENT else {"queue": one.queue}),
                "parameters": thaw(one.parameters),
            }
            for one in pipeline.event_triggers
        ]
    return result


def summary_json(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "words": in_words(schedule),
        "enabled": schedule.enabled,
    }


def schedule_json(schedule: Schedule) -> dict[str, Any]:
    result = {**summary_json(schedule), "parameters": thaw(schedule.parameters)}
    try:
        found = next_run(schedule) if schedule.enabled else None
    except ExpressionError as error:
        return {**result, "error": str(error)}
    return {**result, "next": None if found is None else utc(found)}
