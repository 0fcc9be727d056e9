"""Cron expressions, periods and zones of Airflow as schedule expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, groupby
from typing import Any

from sagebridge.model.display import shown
from sagebridge.model.schedule_expressions import (
    Cron,
    ExpressionError,
    parse_expression,
    rate_expression,
)
from sagebridge.model.schedules import in_utc
from sagebridge.model.unix_cron import PRESETS, from_unix
from sagebridge.model.values import ABSENT, Absent

_PRESETS = {**PRESETS, "@quarterly": "0 0 1 */3 *"}
_CYCLE = range(2024, 2052)
"""After 28 years, weekdays have the same dates again."""


class NoSchedule(Exception):
    """Why a timetable becomes no schedule."""


def cron_expression(text: str) -> str:
    """The expression for cron of Airflow: five fields, and perhaps seconds and a year.

    Raises :class:`NoSchedule`.
    """
    fields = _PRESETS.get(text.strip().lower(), text).split()
    if len(fields) > 5 and fields[5] != "0":
        raise NoSchedule(f"{shown(text)} has seconds; a schedule has a precision of a minute")
    try:
        found = from_unix(" ".join(_plain_fields(fields[:5])))
        if len(fields) != 7 or fields[6] == "*":
            return found
        if not found.endswith(" *)") or found.startswith("unix"):
            raise NoSchedule(f"{shown(text)} limits years and both kinds of days")
        found = f"{found.removesuffix('*)')}{fields[6]})"
        parse_expression(found)
    except ExpressionError as error:
        raise NoSchedule(str(error)) from None
    return found


_SIMPLE = re.compile(r"\*|\*/\d+|(\d+|[A-Z]{3})(,(\d+|[A-Z]{3}))*", re.ASCII | re.IGNORECASE)
"""A field that croniter and EventBridge read in the same way, as do ranges of the kind 1-5."""


def _plain_fields(fields: Sequence[str]) -> list[str]:
    """Five fields of cron without what only croniter reads in its way.

    It reads 5-5 as all values, counts the steps of ranges such as 22-3/2 in its own way, ignores a
    weekday next to 15W, and a day of the month next to L5 or 5#3 (``_calc_next``).
    """
    # Airflow computes the slots of cron with croniter.
    from croniter import croniter  # type: ignore[import-untyped]

    try:
        cron = croniter(" ".join(fields))
    except ValueError as error:
        raise NoSchedule(str(error)) from None
    plain = [_plain(text, values) for text, values in zip(fields, cron.expanded, strict=True)]
    nth = [(day, one) for day, those in cron.nth_weekday_of_month.items() for one in those]
    if cron.nearest_weekday:
        if nth or max(cron.nearest_weekday) > 28:
            raise NoSchedule(f"{shown(' '.join(fields))} has other days in EventBridge")
        plain[2], plain[4] = ",".join(f"{day}W" for day in sorted(cron.nearest_weekday)), "*"
    elif nth:
        plain[2] = "*"
        plain[4] = ",".join(f"L{day}" if one == "l" else f"{day}#{one}" for day, one in sorted(nth))
    elif len(cron.expanded[2]) == 31 or len(cron.expanded[4]) == 7:  # either is on each day
        plain[2] = plain[4] = "*"
    return plain


def _plain(text: str, values: Sequence[int | str]) -> str:
    """A field with the same values."""
    if "*" in values:
        return "*"
    span = re.fullmatch(r"(\d+)-(\d+)", text, re.ASCII)
    if _SIMPLE.fullmatch(text) or (span and int(span[1]) < int(span[2])):
        return text
    return ",".join(map(str, values)).upper()


def joined(expressions: Sequence[str]) -> list[str]:
    """Expressions that differ only in their hours as one, without duplicates."""

    def others(expression: str) -> tuple[str, ...]:
        return tuple(one for at, one in enumerate(expression.split()) if at != 1)

    result = []
    for _, group in groupby(sorted(dict.fromkeys(expressions), key=others), key=others):
        members = list(group)
        parts = members[0].split()
        if len(members) > 1 and not any(one.split()[1] == "*" for one in members):
            timings = (parse_expression(one) for one in members)
            hours = {hour for one in timings if isinstance(one, Cron) for hour in one.hours}
            parts[1] = ",".join(map(str, sorted(hours)))
            members = [" ".join(parts)]
        result += members
    return result


def coincide(expressions: Sequence[str]) -> bool:
    """Whether two of these cron expressions have a common slot."""
    timings = [one for one in map(parse_expression, expressions) if isinstance(one, Cron)]
    return any(
        set(one.minutes) & set(other.minutes)
        and set(one.hours) & set(other.hours)
        and any(
            set(one.days(year, month)) & set(other.days(year, month))
            for year in set(one.years) & set(other.years) & set(_CYCLE)
            for month in set(one.months) & set(other.months)
        )
        for one, other in combinations(timings, 2)
    )


def period_expression(delta: Any, start: datetime | None) -> str:
    """The expression for a timedelta or relativedelta from a start. Raises :class:`NoSchedule`."""
    if isinstance(delta, timedelta):
        return _rate(delta)
    # dateutil.relativedelta: years, months and so on are relative; year, month and so on are not.
    absolute = ("year", "month", "day", "weekday", "hour", "minute", "second", "microsecond")
    if delta.leapdays or any(getattr(delta, name) is not None for name in absolute):
        raise NoSchedule("it is not a fixed period")
    names = ("days", "hours", "minutes", "seconds", "microseconds")
    rest = timedelta(**{name: getattr(delta, name) for name in names})
    months = delta.years * 12 + delta.months
    if not months:
        return _rate(rest)
    if rest or (12 % months and months % 12):
        raise NoSchedule(f"{months} months are not a period of the calendar")
    if start is None or start.day > 28 or start.second or start.microsecond:
        raise NoSchedule("periods of months need a start_date at most on the 28th, without seconds")
    at = start.astimezone(UTC)
    month = ",".join(str(one) for one in range((at.month - 1) % months + 1, 13, months))
    year = "*" if months <= 12 else f"{at.year}/{months // 12}"
    if months >= 12:
        month = str(at.month)
    return f"cron({at.minute} {at.hour} {at.day} {'*' if months == 1 else month} ? {year})"


def _rate(delta: timedelta) -> str:
    if delta <= timedelta() or delta.microseconds:
        raise NoSchedule("it is not a number of whole seconds")
    return rate_expression(delta)


def zone_name(zone: Any) -> str:
    """The IANA name of a time zone. Raises :class:`NoSchedule` for an offset without one."""
    if isinstance(zone, str):
        return zone
    name = getattr(zone, "name", None) or getattr(zone, "key", None) or str(zone)
    if name[:1] not in "+-":
        return str(name)
    hours, rest = divmod(zone.utcoffset(None), timedelta(hours=1))
    if rest or not -12 <= hours <= 14:
        raise NoSchedule(f"no time zone has always the offset {name}")
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


def iso(moment: datetime | None) -> str | Absent:
    """A moment as the start or end of a schedule."""
    return ABSENT if moment is None else in_utc(moment)
