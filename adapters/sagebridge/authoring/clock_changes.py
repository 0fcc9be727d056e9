"""Slots of a schedule whose local time does not exist, or exists twice.

EventBridge skips the former, and fires once at the latter. Airflow and Prefect do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import takewhile

from sagebridge.model.fire_times import fire_times, zone
from sagebridge.model.schedule_expressions import Cron
from sagebridge.model.schedules import Schedule

YEARS = (2020, 2040)
"""The years in which changes of clocks are considered. A translation does not depend on today."""
_WEEK, _MINUTE = timedelta(days=7), timedelta(minutes=1)


def skipped_slots(cron: Cron, timezone: str) -> Iterator[tuple[datetime, timedelta]]:
    """The local times of a cron that do not exist, and by how much the clock is set forward then.

    Raises ExpressionError if there is no such zone.
    """
    for start, length in _gaps(timezone):
        yield from ((local, length) for local in _slots(cron, start, length))


def clock_change_slot(cron: Cron, timezone: str) -> datetime | None:
    """The first slot whose local time does not exist or exists twice, or None.

    Raises ExpressionError if there is no such zone.
    """
    found = (local for start, shift in _changes(timezone) for local in _slots(cron, start, shift))
    return next(found, None)


def _slots(cron: Cron, start: datetime, shift: timedelta) -> Iterator[datetime]:
    """The slots among the local times at a change of clocks."""
    times = (start + number * _MINUTE for number in range(abs(shift) // _MINUTE))
    return (local for local in times if cron.has(local))


def is_moved(
    has: Callable[[datetime], bool], skipped: Iterable[tuple[datetime, timedelta]]
) -> bool:
    """Whether Prefect fires at other times, since it moves times that do not exist.

    It does not if the schedule ``has`` the times to which the ``skipped`` ones are moved: later by
    the change of clocks (``CronSchedule`` of Prefect 3.9 in prefect/server/schemas/schedules.py),
    or earlier (that of Prefect 3.7, and ``tzfile`` in dateutil/tz/tz.py for RRules).
    """
    return not all(has(local + length) and has(local - length) for local, length in skipped)


def moves_times(expression: str, timezone: str) -> bool:
    """Whether a schedule in Prefect fires at other times than this expression in EventBridge.

    A rule of hours or less counts as moved: computing its times takes long. Raises ExpressionError.
    """
    if re.match(r"rrule\(.*FREQ=(HOURLY|MINUTELY|SECONDLY)", expression, re.DOTALL):
        return bool(_gaps(timezone))
    as_written = Schedule("", expression)  # in UTC, which has all local times

    def slots(start: datetime, length: timedelta) -> set[datetime]:
        before = (start - timedelta(seconds=1)).replace(tzinfo=UTC)
        found: Iterator[datetime] = fire_times(as_written, before)
        times = (one.replace(tzinfo=None) - start for one in found)
        return {start + one for one in takewhile(lambda one: one < length, times)}

    def moved(start: datetime, length: timedelta) -> bool:
        skipped = slots(start, length)
        times = slots(start - length, length) | slots(start + length, length)
        return is_moved(times.__contains__, ((one, length) for one in skipped))

    return any(moved(start, length) for start, length in _gaps(timezone))


@lru_cache(maxsize=64)
def changes_clocks(timezone: str) -> bool:
    """Whether the clocks of a zone change in these years. Raises ExpressionError."""
    months = (datetime(year, n, 1, tzinfo=UTC) for year in range(*YEARS) for n in range(1, 13))
    return len({month.astimezone(zone(timezone)).utcoffset() for month in months}) > 1


def _gaps(timezone: str) -> list[tuple[datetime, timedelta]]:
    """The local times that do not exist: the first of each gap, and its length."""
    return [change for change in _changes(timezone) if change[1] > timedelta()]


@lru_cache(maxsize=64)
def _changes(timezone: str) -> tuple[tuple[datetime, timedelta], ...]:
    """The changes of clocks: the first local time that does not exist or exists twice, the shift.

    The shift is positive if clocks are set forward.
    """
    return tuple(_find_changes(zone(timezone)))


def _find_changes(where: tzinfo) -> Iterator[tuple[datetime, timedelta]]:
    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(where).utcoffset() or timedelta()

    instant, last = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[1] + 1, 1, 1, tzinfo=UTC)
    before = offset(instant)
    while instant < last:
        if (after := offset(instant + _WEEK)) != before:
            low, high = instant, instant + _WEEK
            while high - low > _MINUTE:
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            change = high.replace(second=0, microsecond=0, tzinfo=None)
            yield change + min(before, after), after - before
        instant, before = instant + _WEEK, after
