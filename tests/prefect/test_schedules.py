"""The schedules that sagebridge gives to Prefect fire at EventBridge's times."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.server.schemas.actions import DeploymentScheduleCreate as Stored

from sagebridge.authoring.prefect_schedules import FIRST, prefect_schedule
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, Absent
from tests.schedules.expressions import ZONES, Case, cases, features, instants

pytestmark = pytest.mark.prefect

START = datetime(2026, 11, 27, 21, tzinfo=UTC)
LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""EventBridge's years end in 2199."""


def of_prefect(fields: Mapping[str, Any], after: datetime, number: int) -> list[datetime]:
    """The next times of the scheduler, through the request that creates the schedule."""
    anchor = {"anchor_date": after} if "interval" in fields else {}
    request = DeploymentScheduleCreate.model_validate({"schedule": {**anchor, **fields}})
    stored = Stored.model_validate(request.model_dump(mode="json")).schedule

    def dates(count: int, start: datetime) -> list[datetime]:
        found = asyncio.run(stored.get_dates(count, start=start))
        return [one.astimezone(UTC) for one in found]

    second = after.replace(microsecond=0) + timedelta(seconds=1)
    found = dates(number + 60 if "cron" in fields else number, second)
    # At a change of clocks, CronSchedule of Prefect 3.7 also returns times before the start. Their
    # runs were planned earlier, and are not created again (idempotency_key of
    # _generate_scheduled_flow_runs in prefect/server/models/deployments.py).
    past = [one for one in found if one <= after]
    assert not past or set(past) <= set(dates(300, second - timedelta(hours=3)))
    return [one for one in found if one > after][:number]


def of_eventbridge(schedule: Schedule, after: datetime, last: datetime = LAST) -> list[datetime]:
    found = fire_times(schedule, after, anchor=after)
    return [one.astimezone(UTC) for one in islice(takewhile(lambda one: one < last, found), 50)]


def test_expressions_of_the_list_fire_at_the_same_times() -> None:
    different = []
    for case in cases():
        schedule = Schedule("x", case.expression, timezone=case.zone)
        found = prefect_schedule(schedule)
        assert not found.problem, case
        wanted = of_eventbridge(schedule, START)
        if of_prefect(found.fields, START, len(wanted) or 1) != wanted:
            different.append(case)
    assert different == []


@pytest.mark.parametrize(
    "case",
    [
        Case("cron(30 2 * * ? *)", "America/New_York", ()),  # does not exist on March 8
        Case("cron(0 2 ? * SUN *)", "Europe/Berlin", ()),
        Case("cron(15 2 * * ? *)", "Australia/Lord_Howe", ()),
        Case("cron(0/5 * * * ? *)", "America/New_York", ()),  # Prefect moves 2:05 to 3:05
        Case("cron(30 1 * * ? *)", "Europe/Berlin", ()),
        Case("cron(0 0/2 1,30 * ? *)", "America/New_York", ()),
        Case("rate(1 day)", "America/New_York", ()),
    ],
)
@pytest.mark.parametrize("day", ["2027-03-13", "2027-03-27", "2026-10-30", "2027-10-02"])
def test_times_at_changes_of_clocks(case: Case, day: str) -> None:
    schedule = Schedule("x", case.expression, timezone=case.zone)
    after = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    found = prefect_schedule(schedule)
    assert of_prefect(found.fields, after, 50) == of_eventbridge(schedule, after)


@pytest.mark.parametrize(
    ("expression", "where", "after"),
    [
        ("cron(15 2-3 * * ? *)", "Europe/Berlin", "2027-03-27T00:00:00Z"),
        ("cron(15 2,3 * * ? *)", "America/New_York", "2026-03-08T06:00:00Z"),
        ("cron(0/15 2 * * ? *)", "Australia/Lord_Howe", "2026-10-03T14:00:00Z"),
        ("cron(15 * * * ? *)", "America/New_York", "2026-03-08T06:59:00Z"),
    ],
)
@pytest.mark.parametrize("end", [ABSENT, "2028-01-01T00:00:00Z"], ids=["cron", "rule"])
def test_skipped_times_are_not_moved_back(
    expression: str, where: str, after: str, end: str | Absent
) -> None:
    """An RRule moves 2:15 to 1:15, as does the cron of Prefect 3.7; that of 3.9 to 3:15."""
    schedule = Schedule("x", expression, where, end=end)
    instant = datetime.fromisoformat(after)
    found = prefect_schedule(schedule)
    assert of_prefect(found.fields, instant, 50) == of_eventbridge(schedule, instant)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("x", "rate(90 minutes)", start="2027-01-01T00:20:00Z"),
        Schedule("x", "rate(90 minutes)", start="2027-01-01T00:20:00Z", end="2027-01-02T00:00:00Z"),
        Schedule("x", "rate(7 days)", start="2025-03-04T05:06:07Z"),
        Schedule("x", "rate(45 minutes)", end="2026-11-28T00:00:00Z"),
        Schedule("x", "cron(0 12 15W * ? *)", start="2028-02-10T00:00:00+01:00"),
        Schedule("x", "cron(0 12 LW 2 ? 2027,2028,2030,2036)", "Europe/Berlin"),
        Schedule("x", "cron(0 12 LW 2 ? 2027,2028,2030)", end="2028-12-01T00:00:00Z"),
        Schedule("x", "cron(0,30 8-10 LW * ? *)", "Europe/Berlin"),
        Schedule("x", "unix(0 4 1 * MON)", "Europe/Berlin"),
        Schedule("x", "unix(0 4 1 * 0-5/2)", "Europe/Berlin", end="2027-12-01T00:00:00Z"),
        Schedule("x", "rrule(FREQ=WEEKLY;INTERVAL=2)"),
        Schedule("x", "rrule(DTSTART:20260102T030405\nRRULE:FREQ=DAILY;INTERVAL=3)"),
    ],
    ids=lambda one: f"{one.expression} {one.start!s} {one.end!s}",
)
def test_bounds_years_and_the_forms_of_engines(schedule: Schedule) -> None:
    found = prefect_schedule(schedule)
    assert not found.problem
    anchor = FIRST if schedule.expression.startswith("rate") else START
    wanted = list(islice(fire_times(schedule, START, anchor=anchor), 50))
    assert wanted
    assert of_prefect(found.fields, START, 50) == wanted


def maybe(bound: datetime) -> st.SearchStrategy[str | Absent]:
    return st.just(ABSENT) | st.just(bound.isoformat())


@pytest.mark.parametrize("feature", features())
def test_expressions_of_a_feature_fire_at_the_same_times(feature: str) -> None:
    """Until 2037: dateutil, which Prefect uses for rules, knows no later changes of clocks."""

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def check(data: st.DataObject) -> None:
        after = max(data.draw(instants()), FIRST)
        schedule = Schedule(
            "x",
            data.draw(features()[feature]),
            data.draw(st.sampled_from(ZONES)),
            start=data.draw(maybe(after + timedelta(days=3, minutes=307))),
            end=data.draw(maybe(after + timedelta(days=1300))),
        )
        found = prefect_schedule(schedule, after)
        last = datetime(2037, 11, 1, tzinfo=UTC)
        if not found.problem and (wanted := of_eventbridge(schedule, after, last)):
            assert of_prefect(found.fields, after, len(wanted)) == wanted

    check()


def test_too_long_rule_is_a_loss() -> None:
    found = prefect_schedule(Schedule("x", "cron(* 2 * * ? *)", "Europe/Berlin"))
    assert found.fields == {"cron": "* 2 * * *", "timezone": "Europe/Berlin"}
    assert "local times that EventBridge skips" in found.problem
