"""Slots that the scheduler missed, with its own code and database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable
from airflow.timetables.trigger import CronTriggerTimetable

from sagebridge_operators.airflow import EventBridgeTimetable
from tests.dagtest import new_id, store

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
STORES_SLOT = hasattr(Timetable, "next_run_info_from_dag_model")
"""Whether a missed slot is replaced at once. In Airflow 3.1, the DAG processor replaces it."""


def scheduled(dag_id: str, missed: datetime) -> tuple[list[Any], Any]:
    """The slots of runs that the scheduler creates after an outage, and the next slot.

    Before the outage, it had stored the slot ``missed``.
    """
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        model: Any = session.scalar(select(DagModel).where(DagModel.dag_id == dag_id))
        model.next_dagrun = model.next_dagrun_create_after = missed
        model.next_dagrun_data_interval = DataInterval.exact(pendulum.instance(missed))
        session.flush()
        job: Any = Job
        runner: Any = SchedulerJobRunner(job())
        for _ in range(3):
            if model.next_dagrun_create_after <= datetime.now(UTC):
                runner._create_dag_runs([model], session)
                session.flush()
        found = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id))
        return sorted(run.logical_date for run in found), model.next_dagrun


@pytest.mark.managed
def test_scheduler_runs_only_the_latest_slot_after_an_outage() -> None:
    dag = DAG(new_id(), schedule=EventBridgeTimetable("cron(0 * * * ? *)"), catchup=False)
    store(dag)
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    runs, following = scheduled(dag.dag_id, last - timedelta(hours=5))

    assert runs == ([last] if STORES_SLOT else [])
    assert not STORES_SLOT or following == last + timedelta(hours=1)


def test_scheduler_drops_an_outdated_slot() -> None:
    timetable = EventBridgeTimetable("cron(0 0 1 1 ? *)", max_age_seconds=60)
    dag = DAG(new_id(), schedule=timetable, catchup=False)
    store(dag)
    year = datetime.now(UTC).year

    runs, following = scheduled(dag.dag_id, datetime(year, 1, 1, tzinfo=UTC))

    assert runs == []
    assert not STORES_SLOT or following == datetime(year + 1, 1, 1, tzinfo=UTC)


def test_scheduler_runs_a_slot_on_time() -> None:
    dag = DAG(new_id(), schedule=EventBridgeTimetable("cron(0 * * * ? *)"), catchup=False)
    store(dag)
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    assert scheduled(dag.dag_id, last) == ([last], last + timedelta(hours=1))


def test_cron_of_airflow_itself_would_start_more_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why schedules never become a CronTriggerTimetable."""
    cron = CronTriggerTimetable("0 4 * * *", timezone="UTC")
    monkeypatch.setattr(
        "airflow.timetables.trigger.utcnow", lambda: datetime(2026, 12, 1, 5, tzinfo=UTC)
    )
    dag = DAG(new_id(), schedule=CronTriggerTimetable("0 * * * *", timezone="UTC"))
    info = cron.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    # Deployed at 05:00, it would start a job at once.
    assert info is not None
    assert info.run_after == datetime(2026, 12, 1, 4, tzinfo=UTC)
    monkeypatch.undo()
    store(dag)
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=5)

    # After an outage, the first missed slot runs too.
    assert scheduled(dag.dag_id, first)[0] == [first, last]
