"""The schedules and event triggers of a live DAG.

Each timetable of Airflow becomes schedules with the same times if EventBridge's rules allow it. A
timetable of sagebridge has its schedule as an attribute. Everything else is a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from sagebridge.authoring.plain_cron import moved_by_airflow
from sagebridge.authoring.prefect_schedules import FIRST
from sagebridge.formats.airflow.periods import (
    NoSchedule,
    coincide,
    cron_expression,
    iso,
    joined,
    period_expression,
    zone_name,
)
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.connections import AIRFLOW_DEFAULTS
from sagebridge.model.display import free_name, shown
from sagebridge.model.event_triggers import EventTrigger, sqs_message
from sagebridge.model.fire_times import fire_times
from sagebridge.model.losses import MISSED_SLOTS, OWN_SCHEDULE, OWN_TRIGGER
from sagebridge.model.schedule_expressions import Cron, ExpressionError, Rate
from sagebridge.model.schedules import MAX_AGE_SECONDS, Schedule


class ScheduleReading(NamedTuple):
    """The schedules and event triggers of a DAG, and their losses."""

    schedules: tuple[Schedule, ...] = ()
    triggers: tuple[EventTrigger, ...] = ()
    losses: tuple[Unsupported, ...] = ()

    @property
    def carried(self) -> bool:
        return bool(self.schedules or self.triggers)


def read_schedules(dag: Any, name: str = "") -> ScheduleReading:
    """The schedules of a DAG; ``name`` is that of a single one, by default the id of the DAG."""
    reader = _ScheduleReader(dag, name or dag.dag_id)
    reader.read(dag.timetable)
    paused = dag.is_paused_upon_creation is True
    return ScheduleReading(
        tuple(replace(one, enabled=one.enabled and not paused) for one in reader.named()),
        tuple(replace(one, enabled=one.enabled and not paused) for one in reader.triggers),
        tuple(dict.fromkeys(reader.losses)),
    )


def time_limits(dag: Any) -> tuple[datetime | None, datetime | None]:
    """The first and the last time of a run, as the scheduler finds them.

    As ``_time_restriction`` in airflow/serialization/definitions/dag.py.
    """
    starts = [_plain(one.start_date) for one in (dag, *dag.tasks) if one.start_date]
    ends = [_plain(one.end_date) for one in dag.tasks if one.end_date]
    latest = [_plain(dag.end_date)] if dag.end_date else []
    if len(ends) == len(dag.tasks):
        latest += ends
    return min(starts, default=None), max(latest, default=None)


def _plain(moment: datetime) -> datetime:
    """A time of pendulum as one of Python."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


@dataclass(slots=True)
class _ScheduleReader:
    dag: Any
    name: str
    found: list[Schedule] = field(default_factory=list)
    triggers: list[EventTrigger] = field(default_factory=list)
    losses: list[Unsupported] = field(default_factory=list)

    def read(self, timetable: Any) -> None:
        if isinstance(own := getattr(timetable, "schedule", None), Schedule):
            self.found.append(own)
            return
        read = READERS.get(type(timetable).__name__)
        try:
            if read is None or not type(timetable).__module__.startswith("airflow."):
                raise NoSchedule("this timetable is not known")
            read(self, timetable)
        except (NoSchedule, ExpressionError) as why:
            self._lose(_text(timetable), str(why))

    def named(self) -> Iterator[Schedule]:
        """The schedules with their names: those of sagebridge have one."""
        for position, one in enumerate(self.found, 1):
            number = "" if len(self.found) == 1 else f"-{position}"
            yield one if one.name else replace(one, name=f"{self.name[: 64 - len(number)]}{number}")

    def _lose(self, text: str, why: str, advice: str = OWN_SCHEDULE) -> None:
        what = f"the schedule {text} is not carried over: {why}"
        self.losses.append(Unsupported("schedule", "dropped", what, advice))

    def _note(self, what: str) -> None:
        self.losses.append(Unsupported("schedule", "info", what))

    def _never(self, timetable: Any) -> None:
        pass

    def _continuous(self, timetable: Any) -> None:
        raise NoSchedule("each run follows the previous one, at no fixed time")

    def _once(self, timetable: Any) -> None:
        start, end = time_limits(self.dag)
        if start is None or start < FIRST:
            why = "its only run starts as soon as Airflow finds the DAG"
            self._lose("@once", why, "start the execution yourself")
        elif end is None or start <= end:
            self._at(start)

    def _events(self, timetable: Any) -> None:
        start, end = time_limits(self.dag)
        first = max(start or FIRST, FIRST)  # earlier events are past
        for event in sorted(set(timetable.event_dates)):
            moment = event if event.tzinfo else event.replace(tzinfo=UTC)
            if first <= moment and (end is None or moment <= end):
                self._at(moment)
        if not self.found:
            self._lose(_text(timetable), f"it has no times from {first:%Y} on")

    def _at(self, moment: datetime) -> None:
        local = moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        self.found.append(Schedule("", f"at({local.isoformat()})"))

    def _cron(self, timetable: Any) -> None:
        self._crons((timetable,))

    def _several_crons(self, timetable: Any) -> None:
        self._crons(_of(timetable, "timetables"))

    def _crons(self, timetables: Sequence[Any]) -> None:
        """The schedules of cron expressions that have the same other settings."""
        first = timetables[0]
        zone = zone_name(_of(first, "timezone"))
        expressions = joined([cron_expression(_of(one, "expression")) for one in timetables])
        for expression in expressions:
            self._add(Schedule("", expression, zone), first)
        if coincide(expressions):
            what = "slots of two schedules coincide; Airflow starts one run for both"
            advice = "change one of the schedules"
            self.losses.append(Unsupported("schedule", "changed", what, advice))

    def _delta(self, timetable: Any) -> None:
        start, _ = time_limits(self.dag)
        expression = period_expression(_of(timetable, "delta"), start)
        if start is not None and not self.dag.catchup and expression.startswith("rate"):
            self._note(f"{expression} counts from start_date; Airflow counts from the first run")
        self._add(Schedule("", expression), timetable)

    def _add(self, schedule: Schedule, timetable: Any) -> None:
        """Add a schedule within the start and end of the DAG."""
        start, end = time_limits(self.dag)
        bounded = replace(schedule, start=iso(start), end=iso(end))
        if type(timetable).__name__ in _DATA_INTERVALS:
            bounded = _after_interval(schedule, start, end)
            what = (
                "data intervals have no equivalent: the dates of a run, such as ds, are those of "
            )
            what += "the end of its interval, when it starts"
            advice = "subtract the interval where code or a template needs its start"
            self.losses.append(Unsupported("schedule", "changed", what, advice))
        elif _of(timetable, "interval"):
            self._note("the data interval of a run has no equivalent")
        if _of(timetable, "run_immediately"):
            self._note("run_immediately has no effect: the first run is at the first slot")
        if type(timetable).__name__ == "CronPartitionTimetable":
            what = "partition keys are not passed to executions"
            self.losses.append(Unsupported("schedule", "dropped", what, "use a parameter"))
        self.losses += _time_losses(schedule)
        self.found.append(bounded)

    def _assets(self, timetable: Any) -> None:
        found, losses, problems = asset_triggers(timetable.asset_condition)
        self.triggers += found
        self.losses += losses
        if problems:
            self._lose(_text(timetable.asset_condition), "; ".join(problems), OWN_TRIGGER)
        if found:
            self._note("each message starts an execution; Airflow starts one run for several")

    def _partitioned_assets(self, timetable: Any) -> None:
        raise NoSchedule("a pipeline has no partitions")

    def _assets_or_time(self, timetable: Any) -> None:
        self.read(timetable.timetable)
        self._assets(timetable)


READERS: Mapping[str, Callable[[_ScheduleReader, Any], None]] = MappingProxyType(
    {
        "AssetOrTimeSchedule": _ScheduleReader._assets_or_time,
        "AssetTriggeredTimetable": _ScheduleReader._assets,
        "ContinuousTimetable": _ScheduleReader._continuous,
        "CronDataIntervalTimetable": _ScheduleReader._cron,
        "CronPartitionTimetable": _ScheduleReader._cron,
        "CronTriggerTimetable": _ScheduleReader._cron,
        "DeltaDataIntervalTimetable": _ScheduleReader._delta,
        "DeltaTriggerTimetable": _ScheduleReader._delta,
        "EventsTimetable": _ScheduleReader._events,
        "MultipleCronTriggerTimetable": _ScheduleReader._several_crons,
        "NullTimetable": _ScheduleReader._never,
        "OnceTimetable": _ScheduleReader._once,
        "PartitionedAssetTimetable": _ScheduleReader._partitioned_assets,
        "PartitionedAtRuntime": _ScheduleReader._never,
    }
)
"""By the name of a timetable, which is the same in ``airflow.sdk`` and ``airflow.timetables``."""
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_DATA_INTERVALS = frozenset(("CronDataIntervalTimetable", "DeltaDataIntervalTimetable"))


def _of(timetable: Any, name: str) -> Any:
    """An attribute of a timetable; those of ``airflow.timetables`` begin with ``_``."""
    return getattr(timetable, name, getattr(timetable, f"_{name}", None))


def _after_interval(schedule: Schedule, start: datetime | None, end: datetime | None) -> Schedule:
    """The schedule with the limits of its intervals' starts; a run is at an interval's end."""

    def slot(after: datetime | None, number: int) -> datetime | None:
        if after is None:
            return None
        times = fire_times(schedule, after, anchor=start)
        return next(islice(times, number - 1, None), None)

    before = start and max(start, _EARLIEST) - timedelta(seconds=1)
    first = slot(before, 2)
    return replace(schedule, start=iso(first), end=iso(slot(end, 1)))


def _time_losses(schedule: Schedule) -> Iterator[Unsupported]:
    """The losses of a schedule for which EventBridge's rules differ from Airflow's."""
    timing, what, often = schedule.timing, "", True
    match timing:
        case Rate(delta):
            often = delta.total_seconds() <= MAX_AGE_SECONDS
        case Cron():
            days = timing.month_days is None and timing.week_days is None
            often = days and len(timing.months) == 12 and timing.every_year
            what = moved_by_airflow(timing, schedule.timezone)
    if what:
        yield Unsupported("schedule", "changed", what, "choose another time, or use UTC")
    if not often:
        what = "a slot that is missed for more than a day does not run; in Airflow it does"
        yield Unsupported("schedule", "info", what, MISSED_SLOTS)


_PARTS = ("expression", "delta", "timetables", "timetable", "asset_condition", "objects", "uri")
"""Attributes of timetables and assets that describe a schedule."""


def _text(item: Any) -> str:
    """A schedule as a message shows it."""
    if isinstance(item, str):
        return shown(item)
    if isinstance(item, timedelta):
        return f"every {item}"
    if isinstance(item, list | tuple):
        return ", ".join(map(_text, item))
    parts = [found for name in _PARTS if (found := _of(item, name))]
    if (timezone := _of(item, "timezone")) is not None:
        parts.append(str(timezone))
    inside = ", ".join(map(_text, parts)) or getattr(item, "summary", "")
    return f"{type(item).__name__}({inside})" if inside else type(item).__name__


# Event triggers of assets whose watchers read an SQS queue.
_FILTERS = ("message_filtering", "message_filtering_config", "message_filtering_match_values")


class NoTrigger(Exception):
    """Why a watcher becomes no event trigger."""


def asset_triggers(condition: Any) -> tuple[list[EventTrigger], list[Unsupported], list[str]]:
    """The event triggers of the assets that start a DAG, their losses, and unsupported assets."""
    found: list[EventTrigger] = []
    losses: list[Unsupported] = []
    problems = []
    for asset in _alternatives(condition):
        watchers = getattr(asset, "watchers", ())
        for watcher in watchers:
            name = free_name(watcher.name, {one.name for one in found}, separator="-")
            path, arguments = _serialized(watcher.trigger)
            try:
                found.append(sqs_message(name, _queue(watcher.name, path, arguments)))
            except NoTrigger as why:
                problems.append(str(why))
                continue
            losses += _connection_losses(watcher.name, arguments)
        if type(asset).__name__ == "AssetAll":
            problems.append("it needs all of its assets; an event trigger needs one event")
        elif not watchers:
            text = getattr(asset, "uri", None) or getattr(asset, "name", type(asset).__name__)
            problems.append(f"other DAGs update the asset {shown(text)}")
    return found, losses, problems


def _alternatives(condition: Any) -> Iterator[Any]:
    """The assets that each start the DAG, and conditions that need several."""
    kind = type(condition).__name__
    if kind == "AssetAny" or (kind == "AssetAll" and len(condition.objects) == 1):
        for one in condition.objects:
            yield from _alternatives(one)
    else:
        yield condition


def _queue(name: str, path: str, arguments: Mapping[str, Any]) -> str:
    """The URL of the queue that a watcher reads."""
    queue = arguments.get("sqs_queue") or arguments.get("queue")
    if not isinstance(queue, str) or "sqs" not in f"{path} {queue}".lower():
        raise NoTrigger(f"the watcher {shown(name)} does not read an SQS queue")
    if any(arguments.get(one) is not None for one in _FILTERS):
        raise NoTrigger(f"the watcher {shown(name)} filters messages; use a pattern")
    return queue


def _connection_losses(name: str, arguments: Mapping[str, Any]) -> Iterator[Unsupported]:
    given = {one: arguments.get(one) for one in AIRFLOW_DEFAULTS if one in arguments}
    if others := [one for one, value in given.items() if value not in (None, "aws_default")]:
        what = f"{', '.join(others)} of the watcher {shown(name)} has no effect"
        advice = "give its queue the permissions that the pipeline needs"
        yield Unsupported("aws-connection", "changed", what, advice)


def _serialized(trigger: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(trigger, Mapping):
        return str(trigger.get("classpath", "")), trigger.get("kwargs", {})
    path, arguments = trigger.serialize()
    return path, arguments
