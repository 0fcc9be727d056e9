"""Schedules and event triggers of DAGs: presets, cron, periods, timetables, assets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedules import stated_fields
from tests.formats.airflow.conftest import Read, ReadAll

pytestmark = pytest.mark.airflow

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
HEAD = f"""
from datetime import datetime, timedelta, timezone

import pendulum
from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import (
    DAG, Asset, AssetOrTimeSchedule, AssetWatcher, CronDataIntervalTimetable,
    CronPartitionTimetable, CronTriggerTimetable, DeltaDataIntervalTimetable,
    DeltaTriggerTimetable, EventsTimetable, MultipleCronTriggerTimetable,
)
from airflow.timetables.events import EventsTimetable as CoreEvents
from airflow.timetables.trigger import CronTriggerTimetable as CoreCron
from dateutil.relativedelta import relativedelta

START, FEBRUARY, LATER = datetime(2025, 1, 1, 3), datetime(2025, 2, 1), datetime(2030, 1, 1)
HOUR, OFFSET = timedelta(hours=1), pendulum.FixedTimezone(7200)
AMSTERDAM = pendulum.datetime(2025, 3, 1, tz="Europe/Amsterdam")
NEW_YEAR = pendulum.datetime(2027, 1, 1)


def watched(name, **arguments):
    trigger = SqsSensorTrigger(sqs_queue="{QUEUE}", **arguments)
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])


class OwnTimetable(CoreCron):
    pass


"""
CASES: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "preset": ("'@quarterly'", [{"expression": "cron(0 0 1 */3 ? *)"}], ["info: a slot that"]),
    "alias": ("'@midnight'", [{"expression": "cron(0 0 * * ? *)"}], []),
    "weekdays": ("'0 22 * * 1-5'", [{"expression": "cron(0 22 ? * MON-FRI *)"}], ["info: a slot"]),
    "either day": ("'0 4 1 * MON'", [{"expression": "unix(0 4 1 * MON)"}], ["info: a slot that"]),
    "last Friday": ("'0 4 * * L5'", [{"expression": "cron(0 4 ? * 6L *)"}], ["info: a slot that"]),
    "zone": (
        "'30 5 * * *', start_date=AMSTERDAM, end_date=datetime(2027, 1, 1)",
        [
            {
                "expression": "cron(30 5 * * ? *)",
                "timezone": "Europe/Amsterdam",
                "start": "2025-02-28T23:00:00Z",
                "end": "2027-01-01T00:00:00Z",
            }
        ],
        [],
    ),
    "fixed offset": (
        "'30 5 * * *', start_date=datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=-3)))",
        [
            {
                "expression": "cron(30 5 * * ? *)",
                "timezone": "Etc/GMT+3",
                "start": "2025-01-01T03:00:00Z",
            }
        ],
        [],
    ),
    "none": ("None, catchup=True, start_date=START, end_date=LATER", [], ["dropped: end_date="]),
    "default start": (
        "'@hourly', default_args={'start_date': AMSTERDAM}",
        [
            {
                "expression": "cron(0 * * * ? *)",
                "timezone": "Europe/Amsterdam",
                "start": "2025-02-28T23:00:00Z",
            }
        ],
        ["changed: slots at changes of clocks, such as 2020-03-29 02:00 in Europe/Amsterdam"],
    ),
    "every hour of weekdays": (
        "CronTriggerTimetable('0 * * * 1-5', timezone='Europe/Amsterdam'), start_date=START",
        [
            {
                "expression": "cron(0 * ? * MON-FRI *)",
                "timezone": "Europe/Amsterdam",
                "start": "2025-01-01T03:00:00Z",
            }
        ],
        [
            "changed: the first slot after a change of clocks in Europe/Amsterdam",
            "info: a slot that is missed",
        ],
    ),
    "once": (
        "'@once', start_date=datetime(2031, 5, 1, 3, tzinfo=timezone.utc)",
        [{"expression": "at(2031-05-01T03:00:00)"}],
        [],
    ),
    "once, long ago": (
        "'@once', start_date=START",
        [],
        ["dropped: the schedule @once is not carried over: its only run starts as soon as Airflow"],
    ),
    "once, now": ("'@once'", [], ["dropped: the schedule @once is not carried over"]),
    "always": (
        "'@continuous', max_active_runs=1",
        [],
        ["dropped: the schedule ContinuousTimetable"],
    ),
    "period": (
        "timedelta(minutes=90), start_date=START",
        [{"expression": "rate(90 minutes)", "start": "2025-01-01T03:00:00Z"}],
        ["info: rate(90 minutes) counts from start_date; Airflow counts from the first run"],
    ),
    "every interval": (
        "timedelta(hours=1), start_date=START, catchup=True",
        [{"expression": "rate(1 hour)", "start": "2025-01-01T03:00:00Z"}],
        ["changed: catchup=True has no effect: past intervals are not run"],
    ),
    "seconds": (
        "DeltaTriggerTimetable(timedelta(seconds=90))",
        [{"expression": "rate(90 seconds)"}],
        [],
    ),
    "split second": (
        "timedelta(seconds=1.5)",
        [],
        ["dropped: the schedule DeltaTriggerTimetable(every 0:00:01.500000) is not carried over"],
    ),
    "quarters": (
        "relativedelta(months=3), start_date=START",
        [{"expression": "cron(0 3 1 1,4,7,10 ? *)", "start": "2025-01-01T03:00:00Z"}],
        ["info: a slot that"],
    ),
    "years": (
        "relativedelta(years=2), start_date=START",
        [{"expression": "cron(0 3 1 1 ? 2025/2)", "start": "2025-01-01T03:00:00Z"}],
        ["info: a slot that"],
    ),
    "days": ("relativedelta(days=2)", [{"expression": "rate(2 days)"}], ["info: a slot that"]),
    "month ends": (
        "relativedelta(months=1), start_date=datetime(2025, 1, 31)",
        [],
        ["dropped: the schedule DeltaTriggerTimetable(relativedelta) is"],
    ),
    "intervals": (
        "CronDataIntervalTimetable('0 4 * * *', 'UTC'), start_date=START, end_date=FEBRUARY",
        [
            {
                "expression": "cron(0 4 * * ? *)",
                "start": "2025-01-02T04:00:00Z",
                "end": "2025-02-01T04:00:00Z",
            }
        ],
        ["changed: data intervals have no equivalent"],
    ),
    "long intervals": (
        "DeltaDataIntervalTimetable(timedelta(hours=2)), start_date=START, catchup=True",
        [{"expression": "rate(2 hours)", "start": "2025-01-01T05:00:00Z"}],
        ["changed: data intervals have no equivalent", "changed: catchup=True"],
    ),
    "several": (
        "MultipleCronTriggerTimetable('0 4 * * *', '0 16 * * *', timezone='Asia/Kolkata')",
        [{"expression": "cron(0 4,16 * * ? *)", "timezone": "Asia/Kolkata"}],
        [],
    ),
    "coinciding": (
        "MultipleCronTriggerTimetable('0 4 * * *', '0 4 13 * *', timezone='UTC')",
        [
            {"name": "coinciding-1", "expression": "cron(0 4 * * ? *)"},
            {"name": "coinciding-2", "expression": "cron(0 4 13 * ? *)"},
        ],
        ["info: a slot that", "changed: slots of two schedules coincide; Airflow starts one run"],
    ),
    "options": (
        "CronTriggerTimetable('0 4 * * *', timezone=OFFSET, run_immediately=True, interval=HOUR)",
        [{"expression": "cron(0 4 * * ? *)", "timezone": "Etc/GMT-2"}],
        [
            "info: the data interval of a run has no equivalent",
            "info: run_immediately has no effect",
        ],
    ),
    "offset": (
        "CronTriggerTimetable('0 4 * * *', timezone=pendulum.FixedTimezone(19800))",
        [],
        ["dropped: the schedule CronTriggerTimetable('0 4 * * *', "],
    ),
    "partitions": (
        "CronPartitionTimetable('0 4 * * *', timezone='UTC')",
        [{"expression": "cron(0 4 * * ? *)"}],
        ["dropped: partition keys are not passed to executions"],
    ),
    "paused": (
        "'@daily', is_paused_upon_creation=True",
        [{"expression": "cron(0 0 * * ? *)", "enabled": False}],
        [],
    ),
    "core": ("CoreCron('0 4 * * *', timezone='UTC')", [{"expression": "cron(0 4 * * ? *)"}], []),
    "dates": (
        "CoreEvents([NEW_YEAR, NEW_YEAR.add(days=3), NEW_YEAR.add(years=9)]), end_date=LATER",
        [
            {"name": "dates-1", "expression": "at(2027-01-01T00:00:00)"},
            {"name": "dates-2", "expression": "at(2027-01-04T00:00:00)"},
        ],
        [],
    ),
    "own": (
        "OwnTimetable('0 4 * * *', timezone='UTC')",
        [],
        ["dropped: the schedule OwnTimetable('0 4 * * *', 'UTC') is"],
    ),
    "seconds in cron": (
        "'0 4 * * * 30'",
        [],
        ["dropped: the schedule CronTriggerTimetable('0 4 * * * 30', 'UTC') is not carried over: "],
    ),
    "asset": (
        "[Asset('s3://bucket/x')]",
        [],
        ["dropped: the schedule AssetAll(Asset('s3://bucket/x')) is not carried over: other DAGs"],
    ),
    "both assets": ("watched('a') & Asset('b')", [], ["dropped: the schedule AssetAll("]),
    "filter": (
        "[watched('a', message_filtering='literal', message_filtering_match_values='x')]",
        [],
        ["dropped: the schedule AssetAll(Asset('a')) is not carried over: the watcher 'a' filters"],
    ),
}
MESSAGES = "info: each message starts an execution; Airflow starts one run for several"


def dag_id(case: str) -> str:
    return case.replace(", ", "-").replace(" ", "-")


@pytest.fixture(scope="module")
def dags(read_all: ReadAll) -> dict[str, FileReading]:
    """Every case as a DAG of one file."""
    lines = [f"with DAG('{dag_id(case)}', schedule={row[0]}): pass" for case, row in CASES.items()]
    return read_all(HEAD + "\n".join(lines) + STARTERS)


STARTERS = """
with DAG("queue", schedule=[watched("orders")]): pass
with DAG("either", schedule=AssetOrTimeSchedule(
    timetable=CronTriggerTimetable("@hourly", timezone="UTC"), assets=watched("o") | Asset("b"),
)): pass

with DAG("started", params={"table": "orders", "limit": 3}): pass
with DAG("started.nightly", schedule="0 2 * * *", max_active_runs=1):
    TriggerDagRunOperator(
        task_id="start", trigger_dag_id="started", conf={"limit": 9}, reset_dag_run=True
    )
with DAG("weekly", schedule="@weekly"):
    TriggerDagRunOperator(task_id="start", trigger_dag_id="started")
with DAG("by_message", schedule=[watched("orders")]):
    TriggerDagRunOperator(task_id="start", trigger_dag_id="started", conf={"table": "new"})
with DAG("templated", schedule="@daily"):
    TriggerDagRunOperator(task_id="start", trigger_dag_id="started", conf={"table": "{{ ds }}"})
with DAG("elsewhere", schedule="@daily"):
    TriggerDagRunOperator(task_id="start", trigger_dag_id="in_another_file")
with DAG("by_hand", schedule=None):
    TriggerDagRunOperator(task_id="start", trigger_dag_id="started")
"""


def losses(found: FileReading) -> list[str]:
    return [f"{one.severity}: {one.what.removeprefix('the DAG: ')}" for one in found.losses]


@pytest.mark.parametrize("case", CASES)
def test_schedule_of_a_dag_is_read(case: str, dags: dict[str, FileReading]) -> None:
    _, expected, lost = CASES[case]
    found = dags[dag_id(case)]
    named = [{"name": dag_id(case), **one} for one in expected]
    assert [stated_fields(one) for one in found.pipeline.schedules] == named
    assert len(losses(found)) == len(lost)
    for text, start in zip(losses(found), lost, strict=True):
        assert text.startswith(start)


def test_watched_queue_is_an_event_trigger(dags: dict[str, FileReading]) -> None:
    (trigger,) = dags["queue"].pipeline.event_triggers
    assert stated_fields(trigger) == {"name": "orders", "queue": QUEUE}
    assert losses(dags["queue"]) == [MESSAGES]


def test_assets_or_time_are_both_read(dags: dict[str, FileReading]) -> None:
    found = dags["either"]
    assert [one.expression for one in found.pipeline.schedules] == ["cron(0 * * * ? *)"]
    assert [one.name for one in found.pipeline.event_triggers] == ["o"]
    lost = "dropped: the schedule AssetAny(Asset('o'), Asset('b')) is not carried over: other DAGs"
    assert losses(found)[0].startswith(lost)
    assert losses(found)[1:] == [MESSAGES]


def test_dag_that_only_starts_another_one_is_its_schedule(dags: dict[str, FileReading]) -> None:
    found = dags["started"]
    assert [stated_fields(one) for one in found.pipeline.schedules] == [
        {"name": "nightly", "expression": "cron(0 2 * * ? *)", "parameters": {"limit": 9}},
        {"name": "weekly", "expression": "cron(0 0 ? * SUN *)"},
    ]
    (trigger,) = found.pipeline.event_triggers
    assert stated_fields(trigger) == {
        "name": "orders",
        "queue": QUEUE,
        "parameters": {"table": "new"},
    }
    lost = losses(found)
    assert any(
        one.startswith("changed: the DAG started.nightly: settings of the DAG that starts it")
        and "concurrency" in one
        for one in lost
    )
    assert any(one.startswith("changed: the DAG started.nightly: reset_dag_run") for one in lost)
    assert not any("wait_for_completion" in one for one in lost)  # no step waits
    assert not {"started.nightly", "weekly", "by_message"} & dags.keys()


@pytest.mark.parametrize("name", ["templated", "elsewhere", "by_hand"])
def test_other_dag_that_starts_a_dag_is_its_own_pipeline(
    name: str, dags: dict[str, FileReading]
) -> None:
    assert [one.type for one in dags[name].pipeline.steps] == ["sagebridge.PythonCallable"]


TIMES = ["weekdays", "either day", "last Friday", "zone", "quarters", "intervals", "several"]


@pytest.mark.parametrize("case", TIMES)
def test_slots_are_those_of_airflow(case: str, dags: dict[str, FileReading]) -> None:
    """Without days with a change of clocks."""
    (schedule,) = dags[dag_id(case)].pipeline.schedules
    expected = list(islice(airflow_slots(CASES[case][0]), 40))
    after = expected[0] - timedelta(seconds=1)
    assert list(islice(fire_times(schedule, after), len(expected))) == expected


def airflow_slots(schedule: str) -> Iterator[datetime]:
    """The slots of a DAG with all intervals since its start, until its end, by Airflow's code."""
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    names: dict[str, Any] = {}
    exec(f"{HEAD}\ndag = DAG('x', schedule={schedule})", names)
    dag: Any = names["dag"]
    timetable: Any = coerce_to_core_timetable(dag.timetable)
    start = dag.start_date or datetime(2025, 3, 30, 12, tzinfo=UTC)
    restriction = TimeRestriction(names["pendulum"].instance(start), dag.end_date, catchup=True)
    last = None
    while info := timetable.next_dagrun_info(
        last_automated_data_interval=last, restriction=restriction
    ):
        last = info.data_interval
        yield info.run_after


def test_every_timetable_of_airflow_is_known() -> None:
    from importlib import import_module
    from inspect import getmembers, isclass

    from sagebridge.formats.airflow.dag_schedules import READERS

    found: set[str] = set()
    for package in ("airflow.timetables", "airflow.sdk.definitions.timetables"):
        for module in ("assets", "events", "interval", "simple", "trigger"):
            classes = getmembers(import_module(f"{package}.{module}"), isclass)
            found |= {
                name for name, _ in classes if re.fullmatch(r"[A-Z]\w+Time(table|Schedule)", name)
            }
            found |= {name for name, _ in classes if name.startswith("PartitionedAt")}
    assert found - {"BaseTimetable"} == READERS.keys()


def test_start_that_depends_on_the_clock_is_reported(read: Read) -> None:
    text = "from datetime import datetime\nfrom airflow.sdk import DAG\n"
    found = read(f"{text}DAG_1 = DAG('d', schedule='@daily', start_date=datetime.now())\n")
    (lost,) = losses(found)
    assert lost.startswith("changed: a schedule depends on datetime.now(), read on import")
