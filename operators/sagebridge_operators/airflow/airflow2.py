"""What sagebridge needs of Airflow 3, for Airflow 2. Imported only there.

Tasks of Airflow 2 read its database, and its DAGs have other defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import pendulum
from airflow.models import dag as dags
from airflow.models import dagrun, renderedtifields
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable

from sagebridge_operators.airflow._compat import XCom

_START = datetime(2020, 1, 1, tzinfo=UTC)
"""The ``start_date`` of a DAG that has none."""


class CronTimetable(CronTriggerTimetable):  # type: ignore[misc, unused-ignore]
    """A cron expression whose first run is the next one, if the DAG has no ``start_date``.

    The one of Airflow 2 also starts the last run before. As in Airflow 3 that may be a little late,
    since Airflow asks until there is a run (_calc_first_run in airflow/timetables/trigger.py).
    """

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """The next run of the DAG."""
        if last_automated_data_interval is None and restriction.earliest == _START:
            now = pendulum.now("UTC")
            past, coming = self._align_to_prev(now), self._align_to_next(now)
            if now - past > max((coming - past) / 10, timedelta(minutes=5)):
                restriction = restriction._replace(earliest=coming)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


class DAG(dags.DAG):  # type: ignore[misc, unused-ignore]
    """A DAG with the defaults of Airflow 3: ``catchup`` is off, and ``start_date`` is optional.

    The logical date of a cron expression or a timedelta is when the run starts, and not one
    interval earlier (``create_cron_data_intervals`` in Airflow's section scheduler).
    """

    @wraps(dags.DAG.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **given: Any) -> None:
        given.setdefault("catchup", False)
        if "start_date" not in (given.get("default_args") or {}):
            given["start_date"] = given.get("start_date") or _START
        if "fail_fast" in given:
            given["fail_stop"] = given.pop("fail_fast")
        super().__init__(*args, **given)
        self.timetable: Any
        schedule = given.get("schedule")
        if isinstance(schedule, str) and schedule not in ("@once", "@continuous"):
            self.timetable = CronTimetable(schedule, timezone=self.timezone)
        elif isinstance(schedule, timedelta):
            self.timetable = DeltaTriggerTimetable(schedule)


class Airflow2Runs:
    """Static methods of Airflow 3's RuntimeTaskInstance, with the database of Airflow 2."""

    @staticmethod
    def get_task_states(
        dag_id: str,
        map_index: int | None = None,
        task_ids: Sequence[str] | None = None,
        logical_dates: Sequence[datetime] | None = None,
        run_ids: Sequence[str] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The states of tasks by run id and task id, with ``_<index>`` if mapped."""
        return {
            run.run_id: {
                ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}": ti.state
                for ti in run.get_task_instances()
                if (not task_ids or ti.task_id in task_ids) and map_index in (None, ti.map_index)
            }
            for run in _found(dag_id, run_ids, logical_dates)
        }

    @staticmethod
    def get_dr_count(
        dag_id: str,
        logical_dates: Sequence[datetime] | None = None,
        run_ids: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
    ) -> int:
        """The number of DAG runs."""
        found = _found(dag_id, run_ids, logical_dates)
        return sum(states is None or run.state in states for run in found)

    @staticmethod
    def get_dagrun_state(dag_id: str, run_id: str) -> Any:
        """The state of a DAG run, which must exist."""
        return _found(dag_id, [run_id], None)[0].state

    @staticmethod
    def xcom_pull(*, dag_id: str, run_id: str, task_ids: str, key: str, map_indexes: int) -> Any:
        """A value of one task, which may be of another run."""
        found: Any = XCom.get_one(
            dag_id=dag_id, run_id=run_id, task_id=task_ids, key=key, map_index=map_indexes
        )
        return found

    @staticmethod
    def start(dag_id: str, run_id: str, conf: dict[str, Any], date: datetime | None) -> bool:
        """Starts a run; False if there is one with this id."""
        from airflow.api.common import trigger_dag
        from airflow.exceptions import DagRunAlreadyExists

        trigger: Any = trigger_dag.trigger_dag
        try:
            trigger(dag_id, run_id, conf, date, replace_microseconds=False)
        except DagRunAlreadyExists:
            return False
        return True


def _found(
    dag_id: str, run_ids: Sequence[str] | None, dates: Sequence[datetime] | None
) -> list[Any]:
    runs: Any = dagrun.DagRun
    return list(runs.find(dag_id=dag_id, run_id=run_ids, execution_date=dates))


def store_rendered(operator: Any, ti: Any) -> None:
    """Stores the template fields of a task for the rendered view.

    Airflow 3 does so after ``execute``, if ``overwrite_rtif_after_execution`` is true.
    """
    fields = renderedtifields.get_serialized_template_fields(task=operator)
    stored = renderedtifields.RenderedTaskInstanceFields
    stored(ti, render_templates=False, rendered_fields=fields).write()
