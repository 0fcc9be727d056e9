"""The times at which a schedule fires, by EventBridge Scheduler's rules.

- A local time that does not exist, because clocks are set forward, is skipped; one that exists
  twice fires once (EventBridge Scheduler user guide, Schedule types, daylight saving time). Which
  of the two is not documented: this module takes the first.
- A day of ``rate`` has 24 hours. Without a start, EventBridge counts from the creation of the
  schedule; here the caller passes this time.
- ``start`` and ``end`` are included, and mean nothing for ``at`` (CreateSchedule).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import count
from typing import Any

import pendulum
from pendulum.tz.exceptions import InvalidTimezone

from sagebridge.model.schedule_expressions import (
    FIRST_YEAR,
    At,
    Cron,
    ExpressionError,
    Rate,
    Rrule,
)
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import Absent

_SET_BACK = timedelta(hours=4)
"""Since 1970, no clocks were set back further: Casey in Antarctica by 3 hours (tz database)."""
_EPOCH = datetime.combine(date(FIRST_YEAR, 1, 1), time())


def fire_times(
    schedule: Schedule, after: datetime, *, anchor: datetime | None = None
) -> Iterator[pendulum.DateTime]:
    """The times after an instant, in UTC, ascending. ``enabled`` is not considered.

    ``anchor`` is where a rate without a start counts from; ``after``, if it is not given. Raises
    ExpressionError for an expression, zone, start or end that cannot be read.
    """
    start, end = bounds(schedule)
    after = _utc(after)
    match schedule.timing:
        case Rate(delta):
            first = start or _utc(anchor or after)
            steps = max(0, (after - first) // delta + 1)
            found: Iterator[datetime] = _steps(first, steps, delta)
        case other:
            lower = after if start is None or start <= after else start - timedelta(seconds=1)
            found = _local_slots(other, zone(schedule.timezone), lower, forward=True)
    for instant in found:
        if end is not None and instant > end:
            return
        if instant > after and (start is None or instant >= start):
            yield pendulum.instance(instant)


def last_fire_time(
    schedule: Schedule, until: datetime, *, anchor: datetime | None = None
) -> pendulum.DateTime | None:
    """The latest time at or before an instant, in UTC, or None.

    The arguments and errors are those of :func:`fire_times`.
    """
    start, end = bounds(schedule)
    until = _utc(until)
    limit = until if end is None else min(until, end)
    match schedule.timing:
        case Rate(delta):
            first = start or _utc(anchor or until)
            if limit < first:
                return None
            return pendulum.instance(first + (limit - first) // delta * delta)
        case other:
            found = _local_slots(other, zone(schedule.timezone), limit, forward=False)
    for instant in found:
        if start is not None and instant < start:
            return None
        if instant <= limit:
            return pendulum.instance(instant)
    return None


def _utc(moment: datetime) -> datetime:
    """The same instant as a plain datetime."""
    moment = moment.astimezone(UTC)
    # pendulum cannot divide its intervals by a timedelta (Duration.__floordiv__ of 3.3).
    return datetime.combine(moment.date(), moment.time(), UTC)


def bounds(schedule: Schedule) -> tuple[datetime | None, datetime | None]:
    """Start and end in UTC; both None for ``at``. Raises ExpressionError."""
    if isinstance(schedule.timing, At):
        return None, None
    return _instant("start", schedule.start), _instant("end", schedule.end)


def _instant(name: str, text: str | Absent) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ExpressionError(
            f"{name} {text!r} is not a time, such as 2026-12-01T00:00:00Z"
        ) from None


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of that IANA name. Raises ExpressionError."""
    try:
        return pendulum.timezone(name)
    except (InvalidTimezone, ValueError, OSError):
        raise ExpressionError(f"{name!r} is not a time zone, such as Europe/Berlin") from None


def instant_of(local: datetime, where: tzinfo) -> datetime | None:
    """The instant of a local time in UTC, the first of two; None if it does not exist."""
    try:
        instant = local.replace(tzinfo=where, fold=0).astimezone(UTC)
    except OverflowError:
        return None
    return instant if instant.astimezone(where).replace(tzinfo=None) == local else None


def _steps(first: datetime, steps: int, delta: timedelta) -> Iterator[datetime]:
    for number in count(steps):
        try:
            found = first + number * delta
        except OverflowError:
            return
        yield found


def _local_slots(
    timing: At | Cron | Rrule, where: tzinfo, near: datetime, *, forward: bool
) -> Iterator[datetime]:
    """The instants in UTC of local times, from shortly before ``near`` on, or from after it."""
    try:
        local = near.astimezone(where).replace(tzinfo=None)
    except OverflowError:
        return
    if not forward:
        local += _SET_BACK  # the first of two equal local times is earlier than the second
    match timing:
        case At(moment):
            found: Iterator[datetime] = iter((moment,))
        case Rrule():
            found = _recurrences(timing, local, forward=forward)
        case Cron():
            found = _cron_slots(timing, local, forward=forward)
    for each in found:
        if (instant := instant_of(each, where)) is not None:
            yield instant


def _cron_slots(cron: Cron, edge: datetime, *, forward: bool) -> Iterator[datetime]:
    """The local times from ``edge`` on, ascending or descending."""
    order: Callable[..., Iterator[int]] = iter if forward else reversed
    today = edge.date()
    times = [time(hour, minute) for hour in order(cron.hours) for minute in order(cron.minutes)]
    for year in order(_from(cron.years, edge.year, forward=forward)):
        for month in order(cron.months):
            if _beyond((year, month), (edge.year, edge.month), forward=forward):
                for number in order(cron.days(year, month)):
                    day = date(year, month, number)
                    if _beyond(day, today, forward=forward):
                        found = (datetime.combine(day, one) for one in times)
                        yield from (one for one in found if _beyond(one, edge, forward=forward))


def _beyond(one: Any, edge: Any, *, forward: bool) -> bool:
    return bool(one == edge or (one > edge) == forward)


def _from(years: tuple[int, ...], edge: int, *, forward: bool) -> tuple[int, ...]:
    return years[bisect_left(years, edge) :] if forward else years[: bisect_right(years, edge)]


def _recurrences(rule: Rrule, local: datetime, *, forward: bool) -> Iterator[datetime]:
    """The local times of a recurrence rule. Its DTSTART, or 1970, is where its intervals count."""
    from sagebridge.model.recurrences import times_after, times_before

    try:
        yield from (times_after if forward else times_before)(rule.text, _EPOCH, local)
    except (ValueError, TypeError, KeyError) as error:
        raise ExpressionError(f"rrule({rule.text}): {error}") from None
