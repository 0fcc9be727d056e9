"""Recurrence rules have the times of dateutil, without computing them from their start on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from dateutil.rrule import rrulestr

from sagebridge import Schedule
from sagebridge.model.fire_times import fire_times, last_fire_time
from sagebridge.model.recurrences import times_after, times_before

START = datetime(2019, 1, 1)  # noqa: DTZ001 - a local time
RULES = (
    "FREQ=SECONDLY;INTERVAL=7777",
    "FREQ=MINUTELY;INTERVAL=77;BYDAY=MO,TU",
    "FREQ=HOURLY;INTERVAL=5;BYMONTH=1,6",
    "FREQ=DAILY;INTERVAL=3;BYHOUR=0,4;BYSETPOS=-1;BYMINUTE=0,30",
    "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SA,SU",
    "FREQ=MONTHLY;BYDAY=-1FR",
    "FREQ=YEARLY;INTERVAL=2",
    "FREQ=DAILY;COUNT=500",
    "FREQ=HOURLY;UNTIL=20200301T000000",
    (
        "DTSTART:20190503T212711\nRRULE:FREQ=HOURLY;BYDAY=WE;BYHOUR=5,18\nRRULE:FREQ=DAILY;INTERVAL=9\n"
        "EXDATE:20200101T180000\nRDATE:20200103T010203"
    ),
)


@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("days", [-10, 1, 364.7, 366, 800])
def test_times_are_those_of_dateutil(text: str, days: float) -> None:
    rule = rrulestr(text, dtstart=START, ignoretz=True)
    near = START + timedelta(days=days)
    after = list(rule.xafter(near, inc=True, count=8))
    before = [last] if (last := rule.before(near, inc=True)) else []
    while before and len(before) < 8 and (last := rule.before(before[-1])):
        before.append(last)
    assert list(islice(times_after(text, START, near), 8)) == after
    assert list(islice(times_before(text, START, near), 8)) == before


def test_rule_of_each_minute_is_computed_at_once() -> None:
    """dateutil needs more than a minute for it."""
    schedule = Schedule("often", "rrule(FREQ=MINUTELY;INTERVAL=5)")
    now = datetime(2026, 12, 1, 0, 7, tzinfo=UTC)
    assert next(fire_times(schedule, now)) == datetime(2026, 12, 1, 0, 10, tzinfo=UTC)
    assert last_fire_time(schedule, now) == datetime(2026, 12, 1, 0, 5, tzinfo=UTC)
