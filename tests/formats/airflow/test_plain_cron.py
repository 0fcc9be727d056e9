"""Cron expressions in files of hand-written pipelines: plain cron, as in the source."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path

import pendulum
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sagebridge.authoring.plain_cron import moved_by_airflow
from sagebridge.formats.airflow.reader import read_one as read_dag
from sagebridge.formats.airflow.writer import write as write_dag
from sagebridge.formats.prefect.reader import read_one as read_flow
from sagebridge.formats.prefect.writer import write as write_flow
from sagebridge.model.code_steps import PYTHON, PythonStep
from sagebridge.model.expressions import plain
from sagebridge.model.fire_times import fire_times
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import Cron, ExpressionError, parse_expression
from sagebridge.model.schedules import Schedule
from sagebridge.model.unix_cron import from_unix, to_unix
from tests.formats.airflow.test_cron_texts import CRONS

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
CODE = PythonStep(
    "report",
    PYTHON,
    plain({"args": [], "kwargs": {}}),
    function=Function("report", "def report():\n    return 1"),
)
NIGHTS = Schedule("nights", "cron(0 3 ? * MON-FRI *)", "Europe/Berlin", "2025-01-01T00:00:00Z")


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(CRONS, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
def test_plain_cron_has_the_times_of_its_expression_in_airflow(text: str, zone: str) -> None:
    from airflow.exceptions import AirflowTimetableInvalid
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    try:
        expression = from_unix(text)
    except ExpressionError:
        assume(False)
    timing, cron = parse_expression(expression), to_unix(expression)
    assert isinstance(timing, Cron)
    assume(cron and not moved_by_airflow(timing, zone))
    assert from_unix(cron) == expression
    try:
        timetable = CronTriggerTimetable(cron, timezone=zone)
        timetable.validate()
    except AirflowTimetableInvalid:
        pytest.fail(f"{cron} of {expression} is not a cron for Airflow")
    start = pendulum.datetime(2027, 3, 1)
    expected = list(islice(fire_times(Schedule("x", expression, zone), start), 12))
    found: list[datetime] = []
    last = None
    for _ in expected:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(start.add(seconds=1), None, catchup=True),
        )
        assert info is not None
        last = info.data_interval
        found.append(info.run_after)
    assert found == expected


@pytest.mark.parametrize(
    ("expression", "cron"),
    [
        ("cron(0 3 ? * MON-FRI *)", "0 3 * * MON-FRI"),
        ("cron(15 4 * * ? *)", "15 4 * * *"),
        ("cron(0 4 ? * 6L *)", "0 4 * * L5"),
        ("cron(0 4 ? * 6#3 *)", "0 4 * * 5#3"),
        ("unix(0 4 1 * MON)", "0 4 1 * MON"),
        ("cron(0 4 ? * 2-6 *)", ""),  # weekdays of EventBridge begin with 1
        ("cron(0 4 1W * ? *)", ""),
        ("cron(0 4 1 1 ? 2027)", ""),
        ("cron( 0 4 * * ? *)", ""),
        ("rate(5 minutes)", ""),
        ("at(2027-01-01T00:00:00)", ""),
        ("rrule(FREQ=MONTHLY)", ""),
        ("cron(nonsense)", ""),
    ],
)
def test_only_exact_expressions_have_plain_cron(expression: str, cron: str) -> None:
    assert to_unix(expression) == cron


def test_hand_written_pipelines_have_airflows_timetable(tmp_path: Path) -> None:
    pipeline = Pipeline("nights", [CODE], schedules=[NIGHTS])
    text = write_dag(pipeline)[0]
    assert 'schedule=CronTriggerTimetable("0 3 * * MON-FRI", timezone="Europe/Berlin")' in text
    assert "start_date=datetime(2025, 1, 1, tzinfo=UTC)" in text
    assert "EventBridge" not in text
    file = tmp_path / "nights.py"
    file.write_text(text)
    read = read_dag(file)
    assert read.pipeline.schedules == (NIGHTS,)
    assert read.pipeline == pipeline


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("nights", "cron(30 2 * * ? *)", "Europe/Berlin"),  # Airflow moves it in March
        Schedule("nights", "cron(0 3 * * ? *)", max_age_seconds=60),
        Schedule("nights", "cron(0 3 * * ? *)", enabled=False),
        Schedule("nights", "rate(5 minutes)"),
    ],
)
def test_other_schedules_keep_sagebridges_timetable(schedule: Schedule) -> None:
    text = write_dag(Pipeline("nights", [CODE], schedules=[schedule]))[0]
    assert "EventBridgeTimetable(" in text


def test_pipelines_of_sagemaker_keep_eventbridges_cron() -> None:
    pipeline = Pipeline("nights", [], schedules=[NIGHTS])
    assert 'EventBridgeTimetable(\n        "cron(0 3 ? * MON-FRI *)"' in write_dag(pipeline)[0]
    assert 'expression="cron(0 3 ? * MON-FRI *)"' in write_flow(pipeline)[0]


def test_schedule_of_a_flow_is_plain_cron(tmp_path: Path) -> None:
    often = Schedule("often", "rate(5 minutes)", enabled=False)
    pipeline = Pipeline("nights", [CODE], schedules=[NIGHTS, often])
    text = write_flow(pipeline)[0]
    assert 'expression="0 3 * * MON-FRI"' in text
    file = tmp_path / "nights.py"
    file.write_text(text)
    assert read_flow(file).pipeline.schedules == (NIGHTS, often)
    file.write_text(text.replace("0 3 * * MON-FRI", "0 3 * * 1-5"))
    assert read_flow(file).pipeline.schedules[0] == NIGHTS


def test_small_dags_have_airflows_timetable_and_keep_their_names(tmp_path: Path) -> None:
    often = Schedule("often", "cron(0 * * * ? *)")
    pipeline = Pipeline("nights", [CODE], schedules=[NIGHTS, often])
    text = write_dag(pipeline)[0]
    assert text.count("schedule=CronTriggerTimetable(") == 2
    file = tmp_path / "nights.py"
    file.write_text(text)
    assert read_dag(file).pipeline.schedules == (NIGHTS, often)
