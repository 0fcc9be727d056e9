"""Schedules of deployments as schedules of a pipeline.

The settings of a schedule are those of an entry of ``schedules`` in ``prefect.yaml``; calls and the
API of a server have the same. Losses name what a schedule of a pipeline does not have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sagebridge.authoring.clock_changes import changes_clocks, moves_times
from sagebridge.formats.prefect.constructs import SCHEDULE_OPTIONS, option_losses
from sagebridge.formats.prefect.recurrence_rules import read_rule, rule_of
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown
from sagebridge.model.fire_times import zone
from sagebridge.model.losses import OWN_SCHEDULE
from sagebridge.model.schedule_expressions import (
    Cron,
    ExpressionError,
    parse_expression,
    rate_expression,
)
from sagebridge.model.schedules import in_utc
from sagebridge.model.unix_cron import PRESETS, croniter_fields, from_unix
from sagebridge.model.values import ABSENT, Absent

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(?P<days>\d+) )?(?P<hours>\d+):(?P<minutes>\d+)(?::(?P<seconds>\d+))?")
_DAY = timedelta(days=1)


class UnreadableSchedule(Exception):
    """Settings without a time that a pipeline's schedule can have."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule fires: fields of :class:`~sagebridge.model.schedules.Schedule`."""

    expression: str
    timezone: str = "UTC"
    start: str | Absent = ABSENT
    end: str | Absent = ABSENT


def read_times(given: Mapping[str, Any]) -> tuple[Times, list[Unsupported]]:
    """The times of a schedule with these settings. Raises :class:`UnreadableSchedule`."""
    where = given.get("timezone")
    if where is not None and not isinstance(where, str):
        raise UnreadableSchedule(f"the time zone {shown(where)} is not a name")
    for kind, read in (("cron", _cron), ("interval", _interval), ("rrule", _rrule)):
        if given.get(kind) not in (None, ""):
            times, losses = read(given[kind], where, given)
            return times, [*losses, *_other_settings(given)]
    raise UnreadableSchedule("it has no cron, interval or rrule")


def _other_settings(given: Mapping[str, Any]) -> Iterator[Unsupported]:
    """Settings that only Prefect's schedules have."""
    options = [(name, repr(value)) for name, value in given.items() if value not in (None, False)]
    yield from option_losses(SCHEDULE_OPTIONS, options)


def _cron(
    text: Any, where: str | None, given: Mapping[str, Any]
) -> tuple[Times, Iterator[Unsupported]]:
    """Five fields of cron. croniter reads a sixth as seconds."""
    if not isinstance(text, str):
        raise UnreadableSchedule(f"cron={shown(text)} is not a string")
    fields = PRESETS.get(text.strip().lower(), text).split()
    if len(fields) == 6 and fields[5] == "0":
        fields.pop()
    times = Times(_cron_expression(fields, day_or=given.get("day_or") is not False), where or "UTC")
    return times, clock_change_losses(times)


def _cron_expression(fields: list[str], *, day_or: bool) -> str:
    unix = f"unix({' '.join(fields)})"
    try:
        seconds = _seconds(fields.pop()) if len(fields) == 6 else ()
        fields = croniter_fields(fields, day_or=day_or)
        if seconds:
            days_only = parse_expression(f"unix({' '.join(fields)})")
            rule = rule_of(days_only, seconds) if isinstance(days_only, Cron) else None
            if rule is None or (day_or and getattr(days_only, "day_or", False)):
                raise UnreadableSchedule(f"{shown(unix)} has seconds")
            return read_rule(rule).expression
        if day_or:
            return from_unix(" ".join(fields))
        parsed = parse_expression(f"unix({' '.join(fields)})")
    except ExpressionError:
        return unix  # kept as it is; `validate` reports it
    if not isinstance(parsed, Cron) or not parsed.day_or:
        return from_unix(" ".join(fields))
    if (rule := rule_of(parsed)) is None:
        raise UnreadableSchedule(f"{shown(unix)} with day_or=False has no equivalent")
    return read_rule(rule).expression


def clock_change_losses(times: Times) -> Iterator[Unsupported]:
    """The loss of a time that a change of clocks skips."""
    try:
        moved = moves_times(times.expression, times.timezone)
    except ExpressionError:
        return  # `validate` reports it
    if moved:
        what = (
            f"a time that a change of clocks in {times.timezone} skips is skipped; Prefect moves it"
        )
        yield Unsupported("schedule", "changed", what, OWN_SCHEDULE)


def _changes(where: str) -> bool:
    try:
        return changes_clocks(where)
    except ExpressionError:
        return False


def _seconds(field: str) -> tuple[int, ...]:
    """The numbers of croniter's sixth field, which are those of a minute field."""
    parsed = parse_expression(f"cron({field} * * * ? *)")
    assert isinstance(parsed, Cron)
    return parsed.minutes


def _interval(
    value: Any, where: str | None, given: Mapping[str, Any]
) -> tuple[Times, Iterator[Unsupported]]:
    """An interval from an anchor. Whole days follow the clock of the zone, as Prefect does."""
    delta = _delta(value)
    anchor = _anchor(given.get("anchor_date"))
    if where is None:
        where = str(getattr(anchor.tzinfo, "key", "UTC")) if anchor else "UTC"
    start = ABSENT if anchor is None else in_utc(anchor)
    rate = Times(rate_expression(delta), start=start)
    days, rest = divmod(delta, _DAY)
    if not days or not _changes(where):
        return rate, _start_losses(anchor)
    text = rate_expression(delta)[5:-1]
    what = f"an interval of {text} is exact; in Prefect it follows the clock of {where}"
    lost = Unsupported("schedule", "changed", what, OWN_SCHEDULE)
    if anchor is None or rest:
        return rate, iter((lost,))
    try:
        local = anchor.astimezone(zone(where))
    except OverflowError:
        raise UnreadableSchedule(f"anchor_date={anchor} is out of range") from None
    times = Times(_daily(local, days), where, start)
    return times, iter((*clock_change_losses(times), *_start_losses(anchor)))


def _daily(local: datetime, days: int) -> str:
    """Every so many days at the time of a local time."""
    at = f"{local.minute} {local.hour}"
    if days == 1 and not local.second:
        return f"cron({at} * * ? *)"
    if days == 7 and not local.second:
        return f"cron({at} ? * {local:%a} *)".replace(f"{local:%a}", f"{local:%a}".upper())
    return f"rrule(DTSTART:{local:%Y%m%dT%H%M%S}\nRRULE:FREQ=DAILY;INTERVAL={days})"


def _delta(value: Any) -> timedelta:
    found = value
    with suppress(OverflowError, ValueError):
        if isinstance(value, str) and (
            match := _DURATION.fullmatch(value) or _CLOCK.fullmatch(value)
        ):
            found = timedelta(**{name: int(text) for name, text in match.groupdict("0").items()})
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = timedelta(seconds=value)
    if not isinstance(found, timedelta) or found < timedelta(seconds=1) or found.microseconds:
        raise UnreadableSchedule(f"interval={shown(value)} is not a number of whole seconds")
    return found


def _anchor(value: Any) -> datetime | None:
    """The anchor. Prefect reads one without a zone as UTC (create_datetime_instance)."""
    if value is None:
        return None
    found = value
    with suppress(ValueError):
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
    if not isinstance(found, date):
        raise UnreadableSchedule(f"anchor_date={shown(value)} is not a time")
    if not isinstance(found, datetime):
        return datetime(found.year, found.month, found.day, tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _start_losses(anchor: datetime | None) -> Iterator[Unsupported]:
    if anchor is not None:
        what = f"anchor_date becomes the start, {in_utc(anchor)}; Prefect also fires before it"
        yield Unsupported("schedule", "info", what)


def _rrule(
    text: Any, where: str | None, given: Mapping[str, Any]
) -> tuple[Times, Iterator[Unsupported]]:
    """A rule of RFC 5545; in ``prefect.yaml`` also JSON with ``rrule`` and ``timezone``."""
    if isinstance(text, str) and text.lstrip().startswith("{"):
        with suppress(ValueError, AttributeError):
            found = json.loads(text)
            text, where = found.get("rrule"), where or found.get("timezone")
    if not isinstance(text, str) or not isinstance(where, str | None):
        raise UnreadableSchedule(f"rrule={shown(text)} is not a string")
    name = where or "UTC"
    rule = read_rule(text, name)
    times = Times(
        rule.expression,
        name,
        ABSENT if rule.start is None else _instant(rule.start, name),
        ABSENT if rule.end is None else _instant(rule.end, name),
    )
    return times, iter(()) if rule.skips else clock_change_losses(times)


def _instant(local: datetime, where: str) -> str:
    try:
        return in_utc(local.replace(tzinfo=zone(where)))
    except ExpressionError:
        return local.isoformat()  # `validate` reports the zone
