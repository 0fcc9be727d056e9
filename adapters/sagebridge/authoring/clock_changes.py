"""Slots of a schedule at changes of clocks, which each engine treats differently.

EventBridge skips a local time that does not exist, and fires once at one that exists twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from sagebridge.model.fire_times import zone
from sagebridge.model.schedule_expressions import Cron

YEARS = (2020, 2040)
"""The years in which changes of clocks are considered. A translation does not depend on today."""
_WEEK, _MINUTE = timedelta(days=7), timedelta(minutes=1)


def clock_change_slot(cron: Cron, timezone: str) -> datetime | None:
    """The first slot whose local time does not exist or exists twice; None if there is none.

    Raises ExpressionError if there is no such zone.
    """
    for start, end in _windows(timezone):
        local = start
        while local < end:
            if _matches(cron, local):
                return local
            local += _MINUTE
    return None


def _matches(cron: Cron, local: datetime) -> bool:
    return (
        local.minute in cron.minutes
        and local.hour in cron.hours
        and local.month in cron.months
        and local.year in cron.years
        and local.day in cron.days(local.year, local.month)
    )


@lru_cache(maxsize=64)
def _windows(timezone: str) -> tuple[tuple[datetime, datetime], ...]:
    """The local times that do not exist or exist twice, as [start, end), in order."""
    return tuple(_changes(zone(timezone)))


def _changes(where: tzinfo) -> Iterator[tuple[datetime, datetime]]:
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
            yield change + min(before, after), change + max(before, after)
        instant, before = instant + _WEEK, after
