"""The timetable of a schedule. It follows EventBridge Scheduler's rules, not those of croniter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.exceptions import AirflowTimetableInvalid
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from sagebridge.authoring.airflow_schedules import timetable_arguments
from sagebridge.model.fire_times import fire_times, last_fire_time, zone
from sagebridge.model.schedule_expressions import At, ExpressionError, Rate
from sagebridge.model.schedule_words import in_words
from sagebridge.model.schedules import MAX_AGE_SECONDS, Schedule
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value

if TYPE_CHECKING:
    from airflow.models.dag import DagModel
    from airflow.utils.types import DagRunType

_FIRST = timedelta(minutes=1)
"""How old the slot of a DAG without runs may be: EventBridge fires within a minute. A DAG file is
parsed again between a slot and the creation of its run, which must not lose the slot."""
_OLDEST = 10**9
"""The largest ``max_age_seconds`` with an effect: 30 years."""
_TICK = timedelta(microseconds=1)


class MissedSlot(Exception):
    """Keeps the scheduler from creating a run for a slot that it missed."""

    def __init__(self, missed: pendulum.DateTime, slot: pendulum.DateTime | None) -> None:
        super().__init__(f"the slot of {missed} was missed; the next run is at {slot}")


class EventBridgeTimetable(Timetable):
    """A schedule as in EventBridge: ``EventBridgeTimetable("cron(0 4 * * ? *)", name="nightly")``.

    A local time that does not exist is skipped; one that exists twice fires once. A slot that the
    scheduler missed runs once, if it is the latest one and at most ``max_age_seconds`` old. Without
    ``start``, a rate counts from the first run, which starts at once. ``catchup`` of the DAG has no
    effect; backfills work.

    Args:
        expression: ``cron(0 4 * * ? *)``, ``rate(5 minutes)`` or ``at(2026-12-01T10:00:00)``.
        name, timezone, start, end, enabled, flexible_minutes, max_age_seconds, description, extra:
            as in :class:`sagebridge.Schedule`. If not ``enabled``, no slot fires.
    """

    def __init__(
        self,
        expression: str,
        *,
        name: str = "schedule",
        timezone: str = "UTC",
        start: str | Absent = ABSENT,
        end: str | Absent = ABSENT,
        enabled: bool = True,
        flexible_minutes: int | Absent = ABSENT,
        max_age_seconds: int | Absent = ABSENT,
        description: str | Absent = ABSENT,
        extra: Mapping[str, Value] = EMPTY,
    ) -> None:
        self.schedule = Schedule(
            name,
            expression,
            timezone=timezone,
            start=start,
            end=end,
            enabled=enabled,
            flexible_minutes=flexible_minutes,
            max_age_seconds=max_age_seconds,
            description=description,
            extra=extra,
        )
        self.description = in_words(self.schedule)
        try:
            self.periodic = not isinstance(self.schedule.timing, At)
        except ExpressionError:  # reported by validate
            self.periodic = False

    # A property, since the one of Airflow 2 cannot be set.
    @property
    def can_be_scheduled(self) -> bool:  # type: ignore[override]
        """Whether any slot fires."""
        return self.schedule.enabled

    @classmethod
    def of(cls, schedule: Schedule) -> EventBridgeTimetable:
        """The timetable of a schedule, whose parameters belong to the operator of its DAG."""
        return cls(**timetable_arguments(schedule))

    def serialize(self) -> dict[str, Any]:
        return timetable_arguments(self.schedule)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EventBridgeTimetable:
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventBridgeTimetable) and self.schedule == other.schedule

    def __hash__(self) -> int:
        return hash((self.schedule.name, self.schedule.expression))

    def validate(self) -> None:
        """Raises AirflowTimetableInvalid, which Airflow shows as an import error."""
        try:
            zone(self.schedule.timezone)
            next(fire_times(self.schedule, pendulum.now("UTC")), None)
        except ExpressionError as error:
            raise AirflowTimetableInvalid(f"schedule {self.schedule.name!r}: {error}") from None

    @property
    def summary(self) -> str:
        """Shown as the schedule in lists of DAGs."""
        shown = self.schedule.expression
        return shown if self.schedule.timezone == "UTC" else f"{shown} {self.schedule.timezone}"

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """Airflow calls it after each run and at each parse of the file."""
        if not self.schedule.enabled:
            return None
        last = last_automated_data_interval and last_automated_data_interval.end
        earliest = restriction.earliest and restriction.earliest - _TICK
        if restriction.catchup and (last or earliest):
            slot = self._after(max(filter(None, (last, earliest))), anchor=last or earliest)
        else:
            slot = self._due(last, earliest)
        if slot is None or (restriction.latest is not None and slot > restriction.latest):
            return None
        return DagRunInfo.exact(slot)

    def next_run_info_from_dag_model(self, *, dag_model: DagModel) -> DagRunInfo | None:
        """Airflow 3.3 calls it before it creates a run.

        After an outage, the slot in the database is the first one missed, or it is too old. Then
        this stores the slot that counts and raises MissedSlot, which the scheduler logs
        (_create_dag_runs in airflow/jobs/scheduler_job_runner.py).
        """
        stored = super().next_run_info_from_dag_model(dag_model=dag_model)
        slot = stored and self._instead_of(stored.run_after)
        if stored is None or slot == stored.run_after:
            return stored
        # As calculate_dagrun_date_fields in airflow/models/dag.py.
        dag_model.next_dagrun = dag_model.next_dagrun_create_after = slot
        dag_model.next_dagrun_data_interval = None if slot is None else DataInterval.exact(slot)
        raise MissedSlot(stored.run_after, slot)

    def generate_run_id(self, *, run_type: DagRunType, **given: Any) -> str:
        """Raises MissedSlot up to Airflow 3.1, which has no next_run_info_from_dag_model.

        Then the DAG processor stores the slot that counts, when it parses the file again.
        """
        if run_type == "scheduled" and not hasattr(Timetable, "next_run_info_from_dag_model"):
            stored = given.get("run_after") or given["logical_date"]  # Airflow 2 has no run_after
            slot = self._instead_of(stored)
            if slot != stored:
                raise MissedSlot(stored, slot)
        return str(super().generate_run_id(run_type=run_type, **given))

    def _instead_of(self, stored: pendulum.DateTime) -> pendulum.DateTime | None:
        """The slot to run if the scheduler has this one in its database."""
        return self._due(stored - _TICK, None, anchor=stored)

    def _due(
        self,
        last: datetime | None,
        earliest: datetime | None,
        *,
        anchor: datetime | None = None,
    ) -> pendulum.DateTime | None:
        """The latest slot after ``last`` and ``earliest`` that is young enough, or the next one."""
        schedule, now = self.schedule, pendulum.now("UTC")
        if last is None and isinstance(schedule.timing, Rate) and schedule.start is ABSENT:
            first = max(filter(None, (now.replace(microsecond=0), earliest)))
            return self._after(first - _TICK, anchor=first)
        limit = schedule.max_age_seconds
        seconds = MAX_AGE_SECONDS if limit is ABSENT else min(limit, _OLDEST)
        age = timedelta(seconds=seconds) if last else _FIRST
        after = max(filter(None, (last, earliest, now - age)))
        missed = last_fire_time(schedule, now, anchor=anchor or last)
        if missed is not None and missed > after:
            return missed
        return self._after(max(after, now), anchor=anchor or last)

    def _after(self, after: datetime, anchor: datetime | None) -> pendulum.DateTime | None:
        return next(fire_times(self.schedule, after, anchor=anchor), None)
