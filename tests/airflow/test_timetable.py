"""The timetable of schedules: its slots in Airflow's machinery, and slots that were missed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import Any

import pendulum
import pytest
from airflow.exceptions import AirflowTimetableInvalid
from airflow.sdk import DAG
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagebridge import Schedule
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedule_expressions import Rate
from sagebridge.model.values import ABSENT
from sagebridge_operators.airflow import EventBridgeTimetable
from tests.schedules.expressions import ZONES, Case, cases, features, instants

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
NIGHTLY = "cron(0 4 * * ? *)"
_ANY_TIME = TimeRestriction(None, None, catchup=False)


def stored(timetable: EventBridgeTimetable) -> Any:
    """The timetable as the scheduler reads it from the database."""
    module: Any = import_module("airflow.serialization.serialized_objects")
    serialization = getattr(module, "DagSerialization", None) or module.SerializedDAG
    written = json.dumps(serialization.to_dict(DAG("d", schedule=timetable, catchup=False)))
    return serialization.from_dict(json.loads(written)).timetable


def at(text: str) -> pendulum.DateTime:
    return pendulum.instance(datetime.fromisoformat(text))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_to(text: str) -> None:
        monkeypatch.setattr(pendulum, "now", lambda *_: at(text))

    return set_to


def following(
    timetable: Any, last: str | None = None, restriction: TimeRestriction = _ANY_TIME
) -> str | None:
    """The next run after the last one."""
    interval = DataInterval.exact(at(last)) if last else None
    info = timetable.next_dagrun_info(
        last_automated_data_interval=interval, restriction=restriction
    )
    return info and f"{info.run_after:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.expression} {case.zone}")
def test_scheduler_finds_the_times_of_eventbridge(case: Case) -> None:
    timetable = stored(EventBridgeTimetable(case.expression, timezone=case.zone))
    schedule = Schedule("x", case.expression, timezone=case.zone)
    # Each run is computed from the one before it, as the scheduler does.
    first = datetime(2027, 1, 1, tzinfo=UTC)
    expected = list(islice(fire_times(schedule, first), 50))
    info = DagRunInfo.exact(pendulum.instance(first))
    found: list[datetime | None] = []
    while len(found) < 50 and info is not None:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=info.data_interval, restriction=_ANY_TIME
        )
        found += [info.logical_date] if info is not None else []
    assert found == expected
    assert expected or isinstance(schedule.timing, Rate)


@pytest.mark.parametrize("feature", features())
def test_scheduler_finds_the_times_of_any_expression_of_a_feature(feature: str) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(features()[feature], st.sampled_from(ZONES), instants())
    def check(expression: str, zone: str, first: datetime) -> None:
        written = EventBridgeTimetable(expression, timezone=zone).serialize()
        timetable = EventBridgeTimetable.deserialize(json.loads(json.dumps(written)))
        found: list[datetime] = []
        earliest = pendulum.instance(first + timedelta(seconds=1))
        # A backfill, since the other slots are those after today.
        restriction = TimeRestriction(earliest, None, catchup=True)
        last = None
        while len(found) < 3:
            info = timetable.next_dagrun_info(
                last_automated_data_interval=last, restriction=restriction
            )
            if info is None:
                break
            last = info.data_interval
            found.append(info.run_after)
        schedule = Schedule("x", expression, timezone=zone)
        assert found == list(islice(fire_times(schedule, first), 3))

    check()


def test_everything_of_a_schedule_survives_the_database() -> None:
    timetable = EventBridgeTimetable(
        NIGHTLY,
        name="nightly",
        timezone="Europe/Berlin",
        start="2026-01-01T00:00:00Z",
        end="2030-01-01T00:00:00+01:00",
        enabled=False,
        flexible_minutes=5,
        max_age_seconds=60,
        description="{{ not a template }}",
        extra={"GroupName": "g", "Target": {"Input": None}},
    )

    again = stored(timetable)

    assert again.schedule == timetable.schedule
    assert again == timetable
    assert again.summary == "cron(0 4 * * ? *) Europe/Berlin"
    assert again.description == "at 04:00 every day, Europe/Berlin"


def test_first_run_is_the_next_slot(clock: Any) -> None:
    timetable = EventBridgeTimetable(NIGHTLY)
    clock("2026-12-01T04:30:00Z")

    assert following(timetable) == "2026-12-02 04:00:00"


def test_slot_is_not_lost_between_its_time_and_the_creation_of_the_run(clock: Any) -> None:
    clock("2026-12-01T04:00:07Z")

    assert following(EventBridgeTimetable(NIGHTLY)) == "2026-12-01 04:00:00"


@pytest.mark.parametrize(
    ("now", "age", "expected"),
    [
        ("2026-12-05T09:00:00Z", None, "2026-12-05 04:00:00"),
        ("2026-12-05T09:00:00Z", 5 * 3600 + 1, "2026-12-05 04:00:00"),
        ("2026-12-05T09:00:00Z", 3600, "2026-12-06 04:00:00"),
    ],
)
def test_latest_missed_slot_runs_if_it_is_young_enough(
    clock: Any, now: str, age: int | None, expected: str
) -> None:
    timetable = EventBridgeTimetable(NIGHTLY, max_age_seconds=ABSENT if age is None else age)
    clock(now)

    assert following(timetable, "2026-12-01T04:00:00Z") == expected


def test_missed_slot_runs_once(clock: Any) -> None:
    clock("2026-12-05T09:00:00Z")

    again = following(EventBridgeTimetable(NIGHTLY), "2026-12-05T04:00:00Z")

    assert again == "2026-12-06 04:00:00"


def test_rate_counts_from_its_start_or_first_run(clock: Any) -> None:
    clock("2026-12-01T10:07:30Z")
    anchored = EventBridgeTimetable("rate(10 minutes)", start="2026-12-01T00:03:00Z")
    free = EventBridgeTimetable("rate(10 minutes)")

    assert following(anchored) == "2026-12-01 10:13:00"
    assert following(free) == "2026-12-01 10:07:30"
    assert following(free, "2026-12-01T09:59:01Z") == "2026-12-01 10:09:01"
    # Missed while the scheduler was down: the latest one, on the old beat.
    assert following(free, "2026-12-01T09:01:01Z") == "2026-12-01 10:01:01"


def test_at_runs_once(clock: Any) -> None:
    timetable = EventBridgeTimetable("at(2026-12-01T10:00:00)", timezone="Asia/Kolkata")
    clock("2026-12-01T00:00:00Z")

    assert not timetable.periodic
    assert following(timetable) == "2026-12-01 04:30:00"
    assert following(timetable, "2026-12-01T04:30:00Z") is None
    clock("2026-12-01T05:00:00Z")
    assert following(timetable) is None


def test_start_end_and_dates_of_the_dag_limit_the_slots(clock: Any) -> None:
    clock("2026-12-01T12:00:00Z")
    timetable = EventBridgeTimetable(
        NIGHTLY, start="2026-12-10T04:00:00Z", end="2026-12-11T04:00:00Z"
    )
    restriction = TimeRestriction(
        at("2026-12-03T04:00:00Z"), at("2026-12-03T05:00:00Z"), catchup=False
    )

    assert following(timetable) == "2026-12-10 04:00:00"
    assert following(timetable, "2026-12-10T04:00:00Z") == "2026-12-11 04:00:00"
    assert following(timetable, "2026-12-11T04:00:00Z") is None
    dated = EventBridgeTimetable(NIGHTLY)
    assert following(dated, None, restriction) == "2026-12-03 04:00:00"
    assert following(dated, "2026-12-03T04:00:00Z", restriction) is None


def test_disabled_schedule_never_fires() -> None:
    timetable = stored(EventBridgeTimetable(NIGHTLY, enabled=False))

    assert following(timetable) is None
    assert not timetable.can_be_scheduled


def test_backfill_gets_every_slot(clock: Any) -> None:
    clock("2026-12-05T12:00:00Z")
    timetable = EventBridgeTimetable(NIGHTLY)
    backfill = TimeRestriction(at("2026-12-01T04:00:00Z"), at("2026-12-03T04:00:00Z"), catchup=True)

    assert following(timetable, None, backfill) == "2026-12-01 04:00:00"
    assert following(timetable, "2026-12-01T04:00:00Z", backfill) == "2026-12-02 04:00:00"
    assert following(timetable, "2026-12-03T04:00:00Z", backfill) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"expression": "cron(0 4 * * *)"}, "schedule 'nightly': "),
        ({"expression": NIGHTLY, "timezone": "Europe/Atlantis"}, "is not a time zone"),
        ({"expression": NIGHTLY, "start": "tomorrow"}, "start 'tomorrow' is not a time"),
        ({"expression": "rrule(FREQ=FOO)"}, "invalid 'FREQ': FOO"),
    ],
)
def test_wrong_schedule_is_an_import_error(arguments: dict[str, Any], problem: str) -> None:
    timetable = EventBridgeTimetable(name="nightly", **arguments)

    with pytest.raises(AirflowTimetableInvalid, match=problem):
        timetable.validate()


def test_any_maximum_age_can_be_scheduled(clock: Any) -> None:
    clock("2026-12-09T05:00:00Z")
    for seconds in (-5, 10**12, 10**15):
        timetable = EventBridgeTimetable(NIGHTLY, max_age_seconds=seconds)
        expected = "2026-12-10 04:00:00" if seconds < 0 else "2026-12-09 04:00:00"
        assert following(timetable, "2026-12-01T04:00:00Z") == expected
