"""Settings of schedules in Prefect, read back: the times stay the same."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebridge.authoring.prefect_schedules import prefect_schedule
from sagebridge.formats.prefect.schedule_values import Times, UnreadableSchedule, read_times
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedules import Schedule
from tests.schedules.expressions import ZONES, cases, features

AFTER = datetime(2026, 2, 27, tzinfo=UTC)


def next_times(schedule: Schedule | Times, number: int = 50) -> list[datetime]:
    one = schedule
    if isinstance(one, Times):
        one = Schedule("n", one.expression, one.timezone, one.start, one.end)
    return list(islice(fire_times(one, AFTER, anchor=AFTER), number))


def same_after_reading(schedule: Schedule) -> bool:
    """Whether Prefect can have the schedule; if it can, check that it is read back."""
    found = prefect_schedule(schedule)
    if not found.fields or found.problem:
        return False
    times, losses = read_times(found.fields)
    assert next_times(times) == next_times(schedule), (found.fields, times)
    assert not [one for one in losses if one.severity != "info"]
    return True


def test_listed_schedules_keep_their_times() -> None:
    read = [same_after_reading(Schedule("n", one.expression, one.zone)) for one in cases()]
    assert sum(read) >= 0.9 * len(read)


@settings(max_examples=40)
@given(data=st.data())
def test_drawn_schedules_keep_their_times(data: st.DataObject) -> None:
    expression = data.draw(st.one_of(list(features().values())))
    same_after_reading(Schedule("n", expression, data.draw(st.sampled_from(ZONES))))


@pytest.mark.parametrize(
    ("rule", "expression"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=23;BYMINUTE=0", "cron(0 23 L * ? *)"),
        ("FREQ=MONTHLY;BYMONTHDAY=-4,15", "cron(0 0 L-3,15 * ? *)"),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", "cron(0 0 1W * ? *)"),
        ("FREQ=MONTHLY;BYDAY=TU;BYSETPOS=2", "cron(0 0 ? * 3#2 *)"),
        ("FREQ=DAILY;BYMONTHDAY=8,9,10,11,12,13,14;BYDAY=TU", "cron(0 0 ? * 3#2 *)"),
        ("FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO", "cron(0 0 ? 5 2L *)"),
        ("FREQ=HOURLY;INTERVAL=6;BYMINUTE=5", "cron(5 */6 * * ? *)"),
        ("FREQ=MINUTELY;INTERVAL=15;BYHOUR=9,10", "cron(*/15 9,10 * * ? *)"),
        ("FREQ=HOURLY;INTERVAL=5", "rate(5 hours)"),
        ("RRULE:FREQ=SECONDLY;INTERVAL=30", "rate(30 seconds)"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH",
            "rrule(DTSTART:20200101T000000\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TH)",
        ),
        (
            "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;COUNT=3",
            "rrule(DTSTART:20260101T000000\nRRULE:FREQ=DAILY;COUNT=3)",
        ),
        ("nothing", "rrule(DTSTART:20200101T000000\nRRULE:nothing)"),
    ],
)
def test_rules_become_simpler_expressions(rule: str, expression: str) -> None:
    assert read_times({"rrule": rule})[0].expression == expression


def test_bounds_of_a_rule_are_those_of_the_schedule() -> None:
    rule = "DTSTART:20260310T093000\nRRULE:FREQ=WEEKLY;UNTIL=20260601T000000"
    times, _ = read_times({"rrule": rule, "timezone": "Europe/Berlin"})
    assert times == Times(
        "cron(30 9 ? * TUE *)", "Europe/Berlin", "2026-03-10T08:30:00Z", "2026-05-31T22:00:00Z"
    )


@pytest.mark.parametrize(
    ("interval", "expression"),
    [
        ("PT90M", "rate(90 minutes)"),
        ("P1DT12H", "rate(36 hours)"),
        ("1 02:00:00", "rate(26 hours)"),
        (3600.0, "rate(1 hour)"),
    ],
)
def test_intervals(interval: object, expression: str) -> None:
    assert read_times({"interval": interval})[0].expression == expression


@pytest.mark.parametrize(
    "given",
    [
        {"interval": "P99999999999999D"},
        {"interval": 10**30},
        {"interval": True},
        {"interval": -5},
        {"cron": 5},
        {"cron": "* * * * *", "timezone": 5},
        {"interval": 60, "anchor_date": "soon"},
        {"rrule": 5},
        {},
    ],
    ids=str,
)
def test_invalid_settings_are_rejected(given: dict[str, object]) -> None:
    with pytest.raises(UnreadableSchedule):
        read_times(given)


@pytest.mark.parametrize(
    "rule", ["FREQ=HOURLY;INTERVAL=0", "FREQ=DAILY;UNTIL=x", "FREQ=DAILY;BYDAY=XX", " ", "=;="]
)
def test_invalid_rules_are_kept(rule: str) -> None:
    """`validate` reports them."""
    times, _ = read_times({"rrule": rule, "timezone": "Nowhere/Land"})
    assert times.expression.startswith("rrule(DTSTART")


def test_rule_of_seconds_is_read_in_a_moment() -> None:
    rule = "DTSTART:20200101T000000\nRRULE:FREQ=SECONDLY;INTERVAL=7;BYHOUR=3"
    _, (moved,) = read_times({"rrule": rule, "timezone": "Europe/Berlin"})
    assert moved.severity == "changed"


def test_times_out_of_range_are_reported() -> None:
    rule = "DTSTART:00010101T000000\nRRULE:FREQ=DAILY"
    times, _ = read_times({"rrule": rule, "timezone": "Asia/Tokyo"})
    assert str(times.start).startswith("0001-01-01T00:00:00+09:18")  # `validate` reports it
    far = {"interval": 86_400, "anchor_date": "9999-12-31T23:30:00Z", "timezone": "Europe/Berlin"}
    with pytest.raises(UnreadableSchedule, match="out of range"):
        read_times(far)
