"""Schedules as Prefect's own classes fire, and as they are read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from sagebridge.formats.prefect.schedule_values import read_times
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedules import Schedule

AFTER = datetime(2026, 1, 1, tzinfo=UTC)
ANCHOR = datetime(2025, 1, 1, 12, 30, tzinfo=UTC)
NEW_YORK = {"timezone": "America/New_York"}
CLASSES: dict[str, Any] = {
    "cron": CronSchedule,
    "interval": IntervalSchedule,
    "rrule": RRuleSchedule,
}
SCHEDULES: list[dict[str, Any]] = [
    {"cron": "5 6-20 * * 1-6", "timezone": "Europe/Amsterdam"},
    {"cron": "0 4 1 * MON"},
    {"cron": "0 4 1-7 * MON", "day_or": False},
    {"cron": "0 4 13 * FRI", "day_or": False},
    {"cron": "0 4 L * FRI", "day_or": False},
    {"cron": "@weekly"},
    {"cron": "0 12 * * * 0,30"},
    {"cron": "*/7 9-17/2 1,15 1-6 *"},
    {"cron": "0 0 * * 5#3"},
    {"cron": "0 0 * * L5"},
    {"cron": "0 0 L * *"},
    {"cron": "0 0 * * 5-7"},
    {"cron": "*/15 * * * *", **NEW_YORK},
    {"cron": "30 1 * * *", **NEW_YORK},
    {"cron": "0 21-6/2 * * *"},
    {"cron": "15 7-7 * * *"},
    {"cron": "59/5 4 * * *"},
    {"cron": "0 23/2 * * *"},
    {"cron": "0 4 * * 6/1"},
    {"cron": "0 4 1 * MON#1"},
    {"cron": "0 4 */14 * 0-6"},
    {"rrule": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=9"},
    {"rrule": "FREQ=WEEKLY"},
    {"rrule": "FREQ=YEARLY;BYMONTH=3,6"},
    {"rrule": "FREQ=YEARLY;BYDAY=2MO"},
    {"rrule": "FREQ=MONTHLY;BYDAY=2FR", **NEW_YORK},
    {"rrule": "FREQ=HOURLY;INTERVAL=5"},
    {"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH"},
    {"rrule": "DTSTART:20260310T093000\nRRULE:FREQ=DAILY;INTERVAL=3", **NEW_YORK},
    {"rrule": "DTSTART:20260310T093000\nRRULE:FREQ=DAILY;UNTIL=20260401T093000", **NEW_YORK},
    {"rrule": "RRULE:FREQ=WEEKLY;BYDAY=TH\nRRULE:FREQ=WEEKLY;BYDAY=SU\nEXDATE:20260104T000000"},
    {"interval": timedelta(seconds=90), "anchor_date": ANCHOR},
    {"interval": timedelta(days=1), "anchor_date": ANCHOR},
    {"interval": timedelta(days=1), "anchor_date": ANCHOR, **NEW_YORK},
    {"interval": timedelta(days=7), "anchor_date": ANCHOR, **NEW_YORK},
    {"interval": timedelta(days=3), "anchor_date": ANCHOR, **NEW_YORK},
    {"interval": timedelta(hours=3), "anchor_date": ANCHOR, **NEW_YORK},
]
OTHER_TIMES: list[dict[str, Any]] = [
    {"cron": "30 2 * * *", **NEW_YORK},
    {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", **NEW_YORK},
    {"interval": timedelta(days=1), "anchor_date": ANCHOR.replace(hour=7), **NEW_YORK},
    {"interval": timedelta(hours=36), "anchor_date": ANCHOR, **NEW_YORK},
]


def compared(given: dict[str, Any]) -> tuple[list[datetime], list[datetime], list[str]]:
    """100 times of Prefect and of the schedule as read, and the severities of its losses."""
    schedule = next(made for kind, made in CLASSES.items() if kind in given)(**given)
    dates = asyncio.run(schedule.get_dates(n=100, start=AFTER + timedelta(seconds=1)))
    times, losses = read_times(given)
    read = Schedule("n", times.expression, times.timezone, times.start, times.end)
    found: list[datetime] = list(islice(fire_times(read, AFTER), len(dates)))
    return [one.astimezone(UTC) for one in dates], found, [one.severity for one in losses]


@pytest.mark.parametrize("given", SCHEDULES, ids=str)
def test_schedule_is_read_with_its_times(given: dict[str, Any]) -> None:
    theirs, ours, severities = compared(given)
    assert ours == theirs
    assert "changed" not in severities


@pytest.mark.parametrize("given", OTHER_TIMES, ids=str)
def test_other_times_are_reported(given: dict[str, Any]) -> None:
    theirs, ours, severities = compared(given)
    assert ours != theirs
    assert "changed" in severities
