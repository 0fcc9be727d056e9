"""EventBridge's rules: documented examples, a second implementation, and a third in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagebridge import Schedule
from sagebridge.model.fire_times import fire_times, last_fire_time
from sagebridge.model.schedule_expressions import ExpressionError, Rate, parse_expression
from sagebridge.model.schedule_words import in_words
from sagebridge.model.unix_cron import from_unix
from tests.schedules import brute_force
from tests.schedules.expressions import ZONES, Case, cases, features, instants

NOW = datetime(2026, 11, 27, 12, 34, 56, tzinfo=UTC)


def after(schedule: Schedule, when: datetime, count: int) -> list[datetime]:
    return list(islice(fire_times(schedule, when), count))


def local(text: str, zone: str, when: str, count: int = 3) -> list[str]:
    """The next times as the clocks of the zone show them."""
    schedule = Schedule("x", text, timezone=zone)
    found = after(schedule, datetime.fromisoformat(when), count)
    return [f"{one.in_timezone(zone):%Y-%m-%d %H:%M %z}" for one in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.expression} {case.zone}")
def test_expressions_fire_as_the_second_implementation_says(case: Case) -> None:
    schedule = Schedule("x", case.expression, timezone=case.zone)
    found = after(schedule, NOW, 50)
    if case.expression.startswith("cron("):
        assert found == brute_force.fire_times(case.expression, case.zone, NOW, 50)
    assert found


@pytest.mark.parametrize("feature", features())
def test_any_expression_of_a_feature_fires_as_the_second_implementation_says(feature: str) -> None:
    count = 3 if feature == "leap day" else 8

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(features()[feature], st.sampled_from(ZONES), instants())
    def check(expression: str, zone: str, when: datetime) -> None:
        schedule = Schedule("x", expression, timezone=zone)
        found = after(schedule, when, count)
        assert found == brute_force.fire_times(expression, zone, when, count)
        for earlier, later in zip([None, *found], found, strict=False):
            assert last_fire_time(schedule, later) == later
            before = last_fire_time(schedule, later - timedelta(seconds=1))
            assert before == earlier or (earlier is None and (before is None or before <= when))

    check()


def test_documented_examples() -> None:
    """EventBridge Scheduler user guide, Schedule types."""
    last_fridays = Schedule("x", "cron(15 10 ? * 6L 2022-2023)")
    found = after(last_fridays, datetime(2021, 1, 1, tzinfo=UTC), 100)
    assert len(found) == 24
    assert {f"{one:%a %H:%M}" for one in found} == {"Fri 10:15"}
    assert all((one + timedelta(days=7)).month != one.month for one in found)
    # "0/30 20-2 ? * MON-FRI": on Monday from 00:00 to 02:30 too.
    night = Schedule("x", "cron(0/30 20-2 ? * MON-FRI *)")
    at_night = after(night, datetime(2026, 11, 28, tzinfo=UTC), 7)
    assert [f"{one:%a %H:%M}" for one in at_night] == [
        *(f"Mon 0{hour}:{minute}" for hour in range(3) for minute in ("00", "30")),
        "Mon 20:00",
    ]


def test_clocks_forward_skip_and_back_fire_once() -> None:
    """EventBridge Scheduler user guide, Schedule types, daylight saving time."""
    skipped = local("cron(30 2 * * ? *)", "America/New_York", "2026-03-07T12:00:00+00:00", 2)
    assert skipped == ["2026-03-09 02:30 -0400", "2026-03-10 02:30 -0400"]
    # Which of the two 01:30 is not documented: the first.
    twice = local("cron(30 1 * * ? *)", "America/New_York", "2026-10-31T12:00:00+00:00", 2)
    assert twice == ["2026-11-01 01:30 -0400", "2026-11-02 01:30 -0500"]
    hourly = local("cron(0 * * * ? *)", "America/New_York", "2026-11-01T04:30:00+00:00")
    assert hourly == ["2026-11-01 01:00 -0400", "2026-11-01 02:00 -0500", "2026-11-01 03:00 -0500"]
    half_hour = local("cron(15 2 * * ? *)", "Australia/Lord_Howe", "2026-10-02T12:00:00+00:00", 2)
    assert half_hour == ["2026-10-03 02:15 +1030", "2026-10-05 02:15 +1100"]


def test_rates_count_from_their_start_in_days_of_24_hours() -> None:
    daily = Schedule("x", "rate(1 day)", "Europe/Berlin", start="2026-03-28T12:00:00+01:00")
    found = after(daily, datetime(2026, 3, 1, tzinfo=UTC), 3)
    assert [f"{one:%d %H:%M}" for one in found] == ["28 11:00", "29 11:00", "30 11:00"]
    assert last_fire_time(daily, datetime(2026, 3, 29, 10, tzinfo=UTC)) == found[0]
    assert last_fire_time(daily, datetime(2026, 3, 28, tzinfo=UTC)) is None
    anchored = Schedule("x", "rate(7 minutes)")
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    (first,) = islice(fire_times(anchored, NOW, anchor=anchor), 1)
    assert (first.timestamp() - anchor.timestamp()) % 420 == 0
    assert first <= NOW + timedelta(minutes=7)


def test_start_and_end_bound_all_but_at() -> None:
    bounded = Schedule(
        "x", "cron(0 12 * * ? *)", start="2026-12-01T12:00:00Z", end="2026-12-03T12:00:00Z"
    )
    assert [one.day for one in fire_times(bounded, NOW)] == [1, 2, 3]
    assert last_fire_time(bounded, datetime(2027, 1, 1, tzinfo=UTC)) == after(bounded, NOW, 3)[-1]
    assert last_fire_time(bounded, NOW) is None
    once = Schedule("x", "at(2027-01-01T10:00:00)", "Asia/Kolkata", end="2026-12-03T12:00:00Z")
    assert [f"{one:%H:%M}" for one in fire_times(once, NOW)] == ["04:30"]
    assert not after(once, datetime(2027, 1, 2, tzinfo=UTC), 1)


UNKNOWN_TO_THE_THIRD = {"0 6 ? * 2/2 *", "0 12 15 6 ? 2026/4", "0 9 1-5,20,L * ? *", "0 9 ? * L *"}
"""What aws-croniter refuses, or has no times for; also LW, L-3 and ranges that go backwards."""


def test_a_third_implementation_agrees_in_utc() -> None:
    aws_croniter = pytest.importorskip("aws_croniter")
    compared = 0
    for case in cases():
        inside = case.expression.removeprefix("cron(").removesuffix(")")
        if not case.expression.startswith("cron(") or case.zone != "UTC":
            continue
        if {"LW", "L-n", "wrap"} & {*case.features} or inside in UNKNOWN_TO_THE_THIRD:
            continue
        found = aws_croniter.AwsCroniter(inside).get_next(NOW, n=10)
        assert [one.replace(second=0, microsecond=0) for one in found] == after(
            Schedule("x", case.expression), NOW, len(found)
        )
        compared += 1
    assert compared >= 50


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0 4 * * *", "is not a schedule expression"),
        ("cron(0 4 * * *)", "has 5 fields, expected minute"),
        ("cron(0 4 * * * *)", "day of month is * and weekday is *"),
        ("cron(0 4 ? * ? *)", "day of month is ? and weekday is ?"),
        ("cron(60 4 * * ? *)", "minute 60: 60 is not 0 to 59"),
        ("cron(0 24 32 13 ? 1969)", "hour 24: 24 is not 0 to 23"),
        ("cron(0 4 ? * 0 *)", "weekday 0: 0 is not 1 to 7 or SUN to SAT"),
        ("cron(0 4 ? * 2#6 *)", "a month has no weekday number 6"),
        ("cron(0 4 ? * FOO *)", "FOO is not 1 to 7 or SUN to SAT"),
        ("cron(0/0 4 * * ? *)", "the step 0"),
        ("cron(0 4 * * ? 2030-2020)", "goes backwards"),
        ("rate(0 minutes)", "expected a number and minutes, hours or days"),
        ("rate(5 weeks)", "expected a number and minutes, hours or days"),
        ("at(2026-02-30T00:00:00)", "day"),
        ("at(2026-02-03)", "expected at(yyyy-mm-ddThh:mm:ss)"),
        ("rrule(DAILY)", "expected a rule with FREQ="),
        (f"cron({'9' * 4400} 4 L-{'9' * 4400} * ? *)", "is not a number, name or range"),
        (f"cron(0 4 * * ? {'*,' * 9000}*)", "has more than 10,000 characters"),
    ],
)
def test_wrong_expressions_say_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        parse_expression(text)
    assert problem in str(raised.value)


def test_all_wrong_fields_are_named_and_five_fields_are_corrected() -> None:
    with pytest.raises(ExpressionError) as raised:
        parse_expression("cron(0 24 32 13 ? 1969)")
    assert [part.split()[0] for part in str(raised.value).split("; ")] == [
        "hour",
        "day",
        "month",
        "year",
    ]
    with pytest.raises(ExpressionError) as raised:
        parse_expression("cron(0 4 * * 1-5)")
    assert raised.value.fix == "write cron(0 4 ? * MON-FRI *)"
    parse_expression("cron(0 4 ? * MON-FRI *)")


@pytest.mark.parametrize(
    ("unix", "expression"),
    [
        ("0 4 * * *", "cron(0 4 * * ? *)"),
        ("0 4 * * 1-5", "cron(0 4 ? * MON-FRI *)"),
        ("0 4 * * 0", "cron(0 4 ? * SUN *)"),
        ("0 4 * * 7", "cron(0 4 ? * SUN *)"),
        ("0 4 * * 5-7", "cron(0 4 ? * FRI,SAT,SUN *)"),
        ("0 4 * * */2", "cron(0 4 ? * SUN,TUE,THU,SAT *)"),
        ("0 4 L * *", "cron(0 4 L * ? *)"),
        ("0 4 * * L5", "cron(0 4 ? * 6L *)"),
        ("0 4 * * 5#3", "cron(0 4 ? * 6#3 *)"),
        ("0 4 1 * MON", "unix(0 4 1 * MON)"),
    ],
)
def test_unix_cron_counts_weekdays_from_0(unix: str, expression: str) -> None:
    assert from_unix(unix) == expression


def test_either_day_of_unix_cron_fires_once() -> None:
    either = Schedule("x", "unix(0 4 1 * MON)")
    found = after(either, datetime(2027, 1, 31, tzinfo=UTC), 3)  # 1 February 2027 is a Monday
    assert [f"{one:%d %b}" for one in found] == ["01 Feb", "08 Feb", "15 Feb"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "cron(15 10 ? * 6L *)",
            "at 10:15 on the last Friday of each month, Europe/Berlin",
        ),
        ("cron(0 4 * * ? *)", "at 04:00 every day, Europe/Berlin"),
        (
            "cron(0/15 8-18 ? * MON-FRI *)",
            "every 15 minutes, in the hours 8 to 18 from Monday to Friday, Europe/Berlin",
        ),
        (
            "cron(0 12 15W 1 ? *)",
            "at 12:00 on the weekday nearest to day 15 in January, Europe/Berlin",
        ),
        (
            "cron(0 8 ? * 2#1 2027-2199)",
            "at 08:00 on the first Monday of each month from 2027 on, Europe/Berlin",
        ),
        ("rate(90 minutes)", "every 90 minutes"),
        ("rate(1 day)", "every day"),
        ("at(2026-12-01T10:00:00)", "once, at 10:00:00 on 2026-12-01, Europe/Berlin"),
        ("nonsense", "nonsense"),
    ],
)
def test_schedules_in_words(expression: str, words: str) -> None:
    assert in_words(Schedule("x", expression, timezone="Europe/Berlin")) == words


def test_unknown_zones_and_times_are_named() -> None:
    with pytest.raises(ExpressionError, match="'Mars/Base' is not a time zone"):
        after(Schedule("x", "cron(0 4 * * ? *)", "Mars/Base"), NOW, 1)
    for text in ("soon", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(ExpressionError, match="is not a time, such as"):
            after(Schedule("x", "rate(1 day)", start=text), NOW, 1)
    assert isinstance(parse_expression("rate(90 seconds)"), Rate)


def test_schedule_has_no_times_outside_the_calendar() -> None:
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
    assert len(after(Schedule("x", "cron(0 4 * * ? *)", start=first, end=last), NOW, 1)) == 1
    assert after(Schedule("x", "cron(0 4 * * ? *)", "Asia/Tokyo", start=last), NOW, 1) == []
    rare = Schedule("x", "rate(999999999 days)")
    assert next(fire_times(rare, NOW, anchor=NOW - timedelta(seconds=1)), None) is None
