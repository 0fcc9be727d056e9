"""Schedules of a pipeline: when its executions start, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagebridge.model.converters import (
    convert,
)
from sagebridge.model.display import shown
from sagebridge.model.schedule_expressions import Timing, parse_expression
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value, same, thaw

SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
"""A parameter value that stands for the time of the slot, as ``2026-12-01T04:00:00Z``."""
MAX_AGE_SECONDS = 86_400
"""``MaximumEventAgeInSeconds`` of EventBridge Scheduler, if a schedule has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Schedule(Strict):
    """A schedule: ``Schedule("nightly", "cron(0 4 * * ? *)", timezone="Europe/Berlin")``.

    Args:
        name: unique among the schedules of a pipeline.
        expression: as EventBridge Scheduler writes it: ``cron(0 4 * * ? *)``, ``rate(5 minutes)``
            or ``at(2026-12-01T10:00:00)``. Only Airflow and Prefect have ``unix(0 4 1 * MON)`` and
            ``rate(90 seconds)``, only Prefect has ``rrule(FREQ=…)``.
        timezone: the IANA name of the zone of ``at`` and ``cron``.
        start, end: the first and last instant at which it can fire, in ISO 8601 with a zone or Z.
        enabled: whether it fires.
        parameters: parameters of its executions; others have their defaults. The text
            ``<aws.scheduler.scheduled-time>`` becomes the time of the slot.
        flexible_minutes: an execution starts at most this many minutes late
            (``FlexibleTimeWindow``).
        max_age_seconds: how late a missed slot may start (``MaximumEventAgeInSeconds``); a day, if
            absent.
        description: as in EventBridge.
        extra: every other key of a CreateSchedule request. A schedule of an EventBridge rule has
            its other keys below ``Rule``.
    """

    name: str
    expression: str
    timezone: str = "UTC"
    start: str | Absent = ABSENT
    end: str | Absent = ABSENT
    enabled: bool = True
    parameters: Object = EMPTY
    flexible_minutes: int | Absent = ABSENT
    max_age_seconds: int | Absent = ABSENT
    description: str | Absent = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            expression: str,
            timezone: str = "UTC",
            start: str | Absent = ABSENT,
            end: str | Absent = ABSENT,
            enabled: bool = True,
            parameters: Mapping[str, Value] = EMPTY,
            flexible_minutes: int | Absent = ABSENT,
            max_age_seconds: int | Absent = ABSENT,
            description: str | Absent = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"schedule {shown(self.name)}")

    @property
    def timing(self) -> Timing:
        """The meaning of the expression. Raises ExpressionError."""
        return parse_expression(self.expression)


def stated_fields(item: Any) -> dict[str, Any]:
    """The fields of a schedule or event trigger that do not have their defaults, as JSON."""
    return {
        one.name: thaw(getattr(item, one.name))
        for one in fields(item)
        if one.default is MISSING or not same(getattr(item, one.name), one.default)
    }


def at_slot(parameters: Mapping[str, Value], slot: datetime) -> dict[str, Value]:
    """The parameters of the execution for a slot: its time replaces ``SCHEDULED_TIME``."""
    time = f"{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        name: value.replace(SCHEDULED_TIME, time) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def in_utc(instant: datetime) -> str:
    """An instant as in a start or end: ``2026-12-01T04:00:00Z``."""
    with suppress(OverflowError):
        instant = instant.astimezone(UTC)
    return instant.isoformat().replace("+00:00", "Z")
