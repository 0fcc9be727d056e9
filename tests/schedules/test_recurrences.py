"""Recurrence rules have the times of dateutil, without computing them from their start on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic

import pytest
from dateutil.rrule import rrulestr

from sagebridge import Schedule
from sagebridge.model.fire_times import fire_times, last_fire_time
from sagebridge.model.recurrences import times_after, times_before
from sagebridge.model.schedule_expressions import ExpressionError

START = datetime(2019, 1, 1)  # noqa: DTZ001 - a local time
RULES = (
    "FREQ=SECONDLY;INTERVAL=7777",
    "FREQ=MINUTELY;INTERVAL=77;BYDAY=MO,TU",
    "FREQ=HOURLY;INTERVAL=5;BYMONTH=1,6",
    "FREQ=DAILY;INTERVAL=3;BYHOUR=0,4;BYSETPOS=-1;BYMINUTE=0,30",
    "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SA,SU",
    "FREQ=MONTHLY;BYDAY=-1FR",
    "FREQ=MONTHLY;INTERVAL=5;BYDAY=MO;BYHOUR=4,5;BYSETPOS=2,-1",
    "FREQ=YEARLY;INTERVAL=2",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
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


def test_rule_of_each_minute_of_a_day_is_computed_at_once() -> None:
    """dateutil computes four million times since 1970."""
    hours, minutes = (",".join(map(str, range(number))) for number in (24, 60))
    rule = f"FREQ=MONTHLY;BYDAY=MO;BYHOUR={hours};BYMINUTE={minutes}"
    schedule = Schedule("often", f"rrule({rule})")
    before = monotonic()
    found = last_fire_time(schedule, datetime(2026, 11, 30, 4, 7, 30, tzinfo=UTC))
    assert found == datetime(2026, 11, 30, 4, 7, tzinfo=UTC)
    assert monotonic() - before < 5


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=FOO",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999999999999999999",
        "FREQ=MINUTELY;COUNT=1000000000",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYSETPOS=9",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=SECONDLY;BYDAY=MO",
        "RRULE:FREQ=MINUTELY\nEXRULE:FREQ=MINUTELY",
    ],
)
def test_rule_that_would_stop_a_scheduler_is_rejected(text: str) -> None:
    """dateutil would look for the next time for minutes or hours."""
    with pytest.raises(ExpressionError):
        next(fire_times(Schedule("never", f"rrule({text})"), datetime(2026, 12, 1, tzinfo=UTC)))
