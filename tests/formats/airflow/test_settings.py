"""Losses of DAG options."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read_files

pytestmark = pytest.mark.airflow

SCHEDULES = {
    "'0 12 * * 1-5'": "'0 12 * * 1-5'",
    "timedelta(days=2)": "every 2 days, 0:00:00",
    "[Asset('s3://bucket/x')]": "Asset('s3://bucket/x')",
    "Asset('a') | Asset('b')": "AssetAny(Asset('a'), Asset('b'))",
    "CronTriggerTimetable('5 4 * * *', timezone='Europe/Berlin')": (
        "CronTriggerTimetable('5 4 * * *', 'Europe/Berlin')"
    ),
    "AssetOrTimeSchedule(timetable=CronTriggerTimetable('@daily', timezone='UTC'), "
    "assets=[Asset('a')])": (
        "AssetOrTimeSchedule(CronTriggerTimetable('0 0 * * *', 'UTC'), AssetAll(Asset('a')))"
    ),
}


def test_schedule_loss_shows_the_whole_schedule(tmp_path: Path) -> None:
    names = "DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable"
    head = f"from datetime import timedelta\nfrom airflow.sdk import {names}\n"
    dags = [
        f"with DAG('d{at}', schedule={schedule}): pass\n" for at, schedule in enumerate(SCHEDULES)
    ]
    file = tmp_path / "dag.py"
    file.write_text(head + "".join(dags))
    (found,) = read_files([file])
    assert not isinstance(found, Exception), found
    losses = [[one.what for one in reading.losses] for reading in found]
    assert losses == [
        [f"the DAG: the schedule {text} is not carried over"] for text in SCHEDULES.values()
    ]
