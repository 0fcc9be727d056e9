"""Schedules and event triggers of a pipeline as parts of its DAG file.

One schedule without parameters is the schedule of the DAG itself. Otherwise the DAG has none, and
each schedule and trigger is a small DAG that starts a run of it, with its parameters: a DAG has
only one schedule, and two schedules that coincide must start two runs.

A cron of a hand-written DAG or flow is a ``CronTriggerTimetable`` if Airflow has the same times.
Every other schedule is an ``EventBridgeTimetable``, since Airflow's own timetables differ from
EventBridge even in UTC (airflow/timetables/trigger.py and _delta.py of 3.3):

- ``CronTriggerTimetable`` runs the slot before the first parse of a DAG at once, if it is younger
  than a tenth of the period.
- After an outage the scheduler runs the first missed slot, which is stored in its database, and
  then the last.
- ``DeltaTriggerTimetable`` counts from the last parse or run, so its times drift.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zlib import crc32

from sagebridge.authoring.dag_pipeline import legal_id
from sagebridge.authoring.plain_cron import moved_by_airflow, plain_cron
from sagebridge.model.display import free_name
from sagebridge.model.event_triggers import Starter
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import Cron
from sagebridge.model.schedules import Schedule, in_utc, stated_fields
from sagebridge.model.values import ABSENT

TASK_ID = "start"
"""The task of a small DAG."""
_LONGEST_ID = 190
"""Leaves room for a run id that begins with the DAG id; Airflow allows 250 characters."""


def own_schedule(pipeline: Pipeline) -> Schedule | None:
    """The schedule of the DAG itself, if it needs no small DAG.

    Airflow rejects a scheduled DAG with a Param that has no default (_validate_params
    in airflow/sdk/definitions/dag.py).
    """
    if len(pipeline.schedules) != 1 or pipeline.event_triggers:
        return None
    (schedule,) = pipeline.schedules
    complete = all(one.default is not ABSENT for one in pipeline.declared)
    return schedule if complete and not schedule.parameters else None


def small_dags(pipeline: Pipeline, dag_id: str) -> Iterator[tuple[str, Starter]]:
    """The DAG id of each schedule and trigger that has a small DAG."""
    if own_schedule(pipeline) is not None:
        return
    taken: set[str] = {dag_id}
    for starter in pipeline.starters:
        # Airflow rejects ids with two dots in a row (validate_key in airflow/utils/helpers.py).
        exact = f"{dag_id}.{starter.name}"
        wanted = re.sub(r"\.{2,}", ".", legal_id(exact))
        if len(exact) > _LONGEST_ID:  # not the id of another long name, perhaps of another file
            sum_ = crc32(exact.encode(errors="surrogatepass"))
            wanted = f"{wanted[: _LONGEST_ID - 9]}-{sum_:08x}"
        small = free_name(wanted, taken)
        taken.add(small)
        yield small, starter


def native_cron(pipeline: Pipeline, schedule: Schedule, name: str) -> str:
    """The cron for Airflow's timetable, if a schedule of a DAG does not need EventBridgeTimetable.

    ``name`` is that of the schedule when its DAG is read; without one, the name has no meaning.
    Airflow's own timetable also runs a missed slot that is older than a day.
    """
    plain = {"expression", "timezone", "start", "end", "parameters", "name"}
    cron, timing = plain_cron(pipeline, schedule), schedule.timing
    limits = [one for one in (schedule.start, schedule.end) if isinstance(one, str)]
    exact = all(in_utc(datetime.fromisoformat(one)) == one for one in limits)
    named = not name or name == schedule.name
    if not (cron and exact and named and stated_fields(schedule).keys() <= plain):
        return ""
    assert isinstance(timing, Cron)
    return "" if moved_by_airflow(timing, schedule.timezone) else cron


def timetable_arguments(schedule: Schedule) -> dict[str, Any]:
    """The arguments of the timetable of a schedule as JSON, without defaults.

    The parameters are not among them: the operator of the small DAG has them.
    """
    stated = stated_fields(schedule)
    stated.pop("parameters", None)
    return {"expression": stated.pop("expression"), **stated}
