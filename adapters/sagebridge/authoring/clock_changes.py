"""Slots of a schedule whose local time does not exist: EventBridge skips them, Prefect does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from sagebridge.model.fire_times import zone
from sagebridge.model.schedule_expressions import Cron

YEARS = (2020, 2040)
"""The years in which changes of clocks are considered. A translation does not depend on today."""
_WEEK, _MINUTE = timedelta(days=7), timedelta(minutes=1)


def skipped_slots(cron: Cron, timezone: str) -> Iterator[tuple[datetime, timedelta]]:
    """The local times of a cron that do not exist, and by how much the clock is set forward then.

    Raises ExpressionError if there is no such zone.
    """
    for start, length in _gaps(timezone):
        local = start
        while local < start + length:
            if matches(cron, local):
                yield local, length
            local += _MINUTE


def matches(cron: Cron, local: datetime) -> bool:
    """Whether a local time is one of a cron."""
    return (
        local.minute in cron.minutes
        and local.hour in cron.hours
        and local.month in cron.months
        and local.year in cron.years
        and local.day in cron.days(local.year, local.month)
    )


@lru_cache(maxsize=64)
def _gaps(timezone: str) -> tuple[tuple[datetime, timedelta], ...]:
    """The local times that do not exist: the first of each gap, and its length."""
    return tuple(_changes(zone(timezone)))


def _changes(where: tzinfo) -> Iterator[tuple[datetime, timedelta]]:
    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(where).utcoffset() or timedelta()

    instant, last = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[1] + 1, 1, 1, tzinfo=UTC)
    before = offset(instant)
    while instant < last:
        if (after := offset(instant + _WEEK)) > before:
            low, high = instant, instant + _WEEK
            while high - low > _MINUTE:
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            change = high.replace(second=0, microsecond=0, tzinfo=None)
            yield change + before, after - before
        instant, before = instant + _WEEK, after
