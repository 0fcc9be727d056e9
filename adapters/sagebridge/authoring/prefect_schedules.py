"""Schedules as Prefect has them: cron, interval or RRule, whichever fires at the same times.

Prefect's schedules have no start and end, so a schedule with these becomes an RRule with DTSTART
and UNTIL, as does one whose days or years cron cannot express. Prefect moves a local time that does
not exist by the change of clocks, while EventBridge skips it: an RRule excludes these times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from sagebridge.authoring.clock_changes import is_moved, skipped_slots
from sagebridge.model.display import shown
from sagebridge.model.fire_times import bounds, fire_times, last_fire_time, zone
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import (
    LAST_YEAR,
    MONTHS,
    WEEKDAYS,
    At,
    Cron,
    Day,
    ExpressionError,
    Rate,
    Rrule,
)
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""The first time that is considered; rates without a start count from it if they have an end."""
_LAST_YEAR = 2038
"""dateutil, which computes RRules, reads changes of clocks up to 2037 (dateutil.tz.tzfile)."""
_NEVER = datetime(LAST_YEAR, 12, 31, tzinfo=UTC)
_LONGEST = 6500
"""MAX_RRULE_LENGTH in prefect/_internal/schemas/validators.py."""
_DATE = "%Y%m%dT%H%M%S"
_ALL_DAYS = tuple(Day("weekday", number) for number in range(1, 8))
_OF_WEEKDAYS = ("nearest", "last-weekday")
_POSITIONS = 24
"""The most times in a day for which a rule lists positions."""
_SPAN = range(2001, 2029)
"""28 years, in which each date has each weekday, in leap years too."""
_ZONE = "use UTC, or times outside the change of clocks"
_LATE = "cancel late runs after Prefect's server or worker was down"


@dataclass(frozen=True, slots=True)
class PrefectSchedule:
    """A schedule of Prefect.

    Attributes:
        fields: its keys in Prefect's API and ``prefect.yaml``: ``cron``; ``interval`` (seconds)
            and ``anchor_date``; or ``rrule``; each with ``timezone``. Empty if Prefect cannot have
            the schedule.
        problem: how its times differ; empty if they are the same.
    """

    fields: Mapping[str, Any]
    problem: str = ""


def prefect_schedule(schedule: Schedule, now: datetime = FIRST) -> PrefectSchedule:
    """The schedule that fires at the same times from ``now`` on, or the nearest one.

    Raises ExpressionError for an expression, zone, start or end that cannot be read.
    """
    timing, _ = schedule.timing, zone(schedule.timezone)
    start, end = bounds(schedule)
    if isinstance(timing, Rate):
        return _rate(timing, schedule, now)
    bounded = end is not None or (start is not None and start > now)
    if isinstance(timing, Rrule):
        return _recurrence(timing, schedule)
    base = _base(now)
    first = next(fire_times(schedule, base - timedelta(seconds=1)), None)
    if first is None:
        return PrefectSchedule({}, f"has no times from {base:%Y} on")
    if isinstance(timing, At):
        return _rrule([f"DTSTART:{timing.time:{_DATE}}", "RRULE:FREQ=DAILY;COUNT=1"], schedule)
    found = [one for one in skipped_slots(timing, schedule.timezone) if one[0].year < _LAST_YEAR]
    moved = is_moved(timing.has, found)
    skipped = [local for local, _ in found if local.year >= base.year] if moved else []
    cron = _cron(timing)
    fields = {"cron": cron, "timezone": schedule.timezone}
    if cron and timing.every_year and not bounded:
        if not moved:
            return PrefectSchedule(fields)
        rule = _rule(timing, schedule, first, skipped, bounded=bounded)
        what = "at a change of clocks also fires for local times that EventBridge skips"
        return rule if rule.fields else PrefectSchedule(fields, what)
    return _rule(timing, schedule, first, skipped, bounded=bounded)


def schedule_losses(pipeline: Pipeline) -> Iterator[Loss]:
    """What Prefect cannot express of the schedules."""
    for position, schedule in enumerate(pipeline.schedules):
        place, name = f"/Schedules/{position}", f"schedule {shown(schedule.name)}"
        try:
            found = prefect_schedule(schedule)
        except ExpressionError as error:
            found = PrefectSchedule({}, f"cannot be read: {error}")
        if not found.fields:
            what = f"{name} {found.problem}, so the deployment does not have it"
            yield Loss("schedule", "dropped", place, what, "prefect", "change its expression")
            continue
        if found.problem:
            yield Loss("schedule", "changed", place, f"{name} {found.problem}", "prefect", _ZONE)
        what = f"{name} runs missed slots late, however old they are"
        yield Loss("schedule", "info", f"{place}/Target/RetryPolicy", what, "prefect", _LATE)


def _base(now: datetime) -> datetime:
    """Where rules without a later start begin: Prefect computes all times since then."""
    return max(FIRST, datetime(now.year, 1, 1, tzinfo=UTC))


def _rate(rate: Rate, schedule: Schedule, now: datetime) -> PrefectSchedule:
    seconds = int(rate.delta.total_seconds())
    start, end = bounds(schedule)
    if not end and (start is None or start <= now):
        # In UTC, because days follow the clock in any other zone (IntervalSchedule, same module).
        fields = {"interval": seconds, "timezone": "UTC"}
        more = {} if start is None else {"anchor_date": start.isoformat()}
        return PrefectSchedule({**fields, **more})
    anchor = start or FIRST
    base = _base(now)
    first = next(fire_times(schedule, base - timedelta(seconds=1), anchor=anchor), None)
    last = last_fire_time(schedule, _NEVER, anchor=anchor)
    if first is None or last is None:
        return PrefectSchedule({}, f"has no times from {base:%Y} on")
    units = {"DAILY": 86_400, "HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}
    unit = next(unit for unit, length in units.items() if seconds % length == 0)
    rule = f"RRULE:FREQ={unit};INTERVAL={seconds // units[unit]}"
    if end:
        rule += f";UNTIL={last:{_DATE}}"
    return _rrule([f"DTSTART:{first:{_DATE}}", rule], replace(schedule, timezone="UTC"))


def _recurrence(rule: Rrule, schedule: Schedule) -> PrefectSchedule:
    text = rule.text
    if "DTSTART" not in text.upper():  # Prefect's default is 2020 (DEFAULT_RRULE_ANCHOR)
        prefix = (
            "" if text.upper().startswith(("RRULE:", "EXRULE:", "RDATE", "EXDATE")) else "RRULE:"
        )
        text = f"DTSTART:19700101T000000\n{prefix}{text}"
    given = [name for name in ("start", "end") if getattr(schedule, name) is not ABSENT]
    problem = f"does not have the {' and '.join(given)} of the schedule" if given else ""
    return PrefectSchedule({"rrule": text, "timezone": schedule.timezone}, problem)


def _rrule(lines: Sequence[str], schedule: Schedule) -> PrefectSchedule:
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        return PrefectSchedule({}, "is too long as a rule of Prefect")
    return PrefectSchedule({"rrule": text, "timezone": schedule.timezone})


def _rule(
    cron: Cron, schedule: Schedule, first: datetime, skipped: Iterable[datetime], *, bounded: bool
) -> PrefectSchedule:
    """The schedule as recurrence rules, without the ``skipped`` local times."""
    where = zone(schedule.timezone)
    begin = first.astimezone(where)
    years = [year for year in cron.years if year >= begin.year]
    steps = {after - before for before, after in pairwise(years)} or {1}
    if len(steps) > 1:
        return (
            _dates(schedule, first) if bounded else _rule_of_years(cron, schedule, years, skipped)
        )
    interval = steps.pop()
    until = ""
    if schedule.end is not ABSENT or not cron.every_year:
        last = last_fire_time(schedule, _NEVER) or first
        until = f";UNTIL={last.astimezone(where):{_DATE}}"
    rules = [f"{rule}{until}" for rule in _rules(cron, interval)]
    return _rrule([f"DTSTART:{begin:{_DATE}}", *rules, *_without(skipped)], schedule)


def _rule_of_years(
    cron: Cron, schedule: Schedule, years: Sequence[int], skipped: Iterable[datetime]
) -> PrefectSchedule:
    """Years without a regular distance: one rule per year, which repeats after its UNTIL."""
    before = years[0] - 1
    rules = [
        f"{rule};UNTIL={year}1231T235959"
        for year in years
        for rule in _rules(cron, year - before, yearly=True)
    ]
    return _rrule([f"DTSTART:{before}1231T235959", *rules, *_without(skipped)], schedule)


def _dates(schedule: Schedule, first: datetime) -> PrefectSchedule:
    """The times as a list; not possible if they are too many."""
    found = list(islice(fire_times(schedule, first - timedelta(seconds=1)), _LONGEST // 16))
    where = zone(schedule.timezone)
    dates = ",".join(f"{one.astimezone(where):{_DATE}}" for one in found)
    return _rrule([f"DTSTART:{found[0].astimezone(where):{_DATE}}", f"RDATE:{dates}"], schedule)


def _without(skipped: Iterable[datetime]) -> Iterator[str]:
    if dates := ",".join(f"{one:{_DATE}}" for one in skipped):
        yield f"EXDATE:{dates}"


def _rules(cron: Cron, interval: int, *, yearly: bool = False) -> Iterator[str]:
    """The recurrence rules of the days, months, hours and minutes; each day matches any of them."""
    times = f"BYHOUR={_list(cron.hours)};BYMINUTE={_list(cron.minutes)};BYSECOND=0"
    in_day = len(cron.hours) * len(cron.minutes)
    by_position = not yearly and interval == 1 and in_day <= _POSITIONS
    for months, days in _selected(cron, in_day if by_position else 0):
        freq = "MONTHLY"
        if yearly or interval > 1:
            freq = f"YEARLY;INTERVAL={interval}"
        elif "BYYEARDAY" in days:
            freq = "YEARLY"
        parts = [f"RRULE:FREQ={freq}", days, times]
        if len(months) < len(MONTHS) or freq != "MONTHLY":  # BYDAY=1MO is of the year without it
            parts.insert(1, f"BYMONTH={_list(months)}")
        yield ";".join(parts)


def _selected(cron: Cron, in_day: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """Months and the part of a rule that selects days in them.

    ``in_day`` is how often the cron fires in a day, if the rule is monthly: it then selects the
    last times of the last weekday.
    """
    items = (*(cron.month_days or ()), *(cron.week_days or ()))
    if cron.month_days is None and cron.week_days is None:
        items = _ALL_DAYS
    in_month = [
        one.number if one.kind == "day" else -one.number - 1
        for one in items
        if one.kind in ("day", "last")
    ]
    if in_month:
        yield cron.months, f"BYMONTHDAY={_list(in_month)}"
    weekdays = [_weekday(one.number) for one in items if one.kind == "weekday"]
    if weekdays:
        yield cron.months, f"BYDAY={','.join(weekdays)}"
    nth = [
        f"{-1 if one.kind == 'last-of' else one.nth}{_weekday(one.number)}"
        for one in items
        if one.kind in ("last-of", "nth")
    ]
    if nth:
        yield cron.months, f"BYDAY={','.join(nth)}"
    for item in items:
        if item.kind == "last-weekday" and in_day:
            last = _list(range(-in_day, 0))
            yield cron.months, f"BYDAY=MO,TU,WE,TH,FR;BYSETPOS={last}"
        elif item.kind in _OF_WEEKDAYS:
            yield from _nearest(item, cron.months)


def _nearest(item: Day, months: Sequence[int]) -> Iterator[tuple[tuple[int, ...], str]]:
    """``15W`` and ``LW``: days of the month on given weekdays, as (14, FR), (15, MO to FR)."""
    found: dict[tuple[int, int, int], set[bool]] = {}
    for month in months:
        for year in _SPAN:
            for day in item.in_month(year, month):
                weekday = date(year, month, day).isoweekday() % 7 + 1
                found.setdefault((day, weekday, month), set()).add(_is_leap(year))
    by_days: dict[tuple[int, int, int | None], list[int]] = {}
    for (day, weekday, month), leap in sorted(found.items()):
        year_day = None
        if month == 2 and day < 29 and len(leap) == 1:  # negative: differs in leap years
            year_day = 31 + day - (366 if leap == {True} else 365) - 1
        by_days.setdefault((day, weekday, year_day), []).append(month)
    by_months: dict[tuple[int, int | None, tuple[int, ...]], list[str]] = {}
    for (day, weekday, year_day), each in by_days.items():
        by_months.setdefault((day, year_day, tuple(each)), []).append(_weekday(weekday))
    for (day, year_day, each_month), weekdays in by_months.items():
        days = f"BYMONTHDAY={day};BYDAY={','.join(weekdays)}"
        yield each_month, days if year_day is None else f"BYYEARDAY={year_day};{days}"


def _is_leap(year: int) -> bool:
    return year % 4 == 0  # in _SPAN


def _weekday(number: int) -> str:
    """``SU`` to ``SA``."""
    return WEEKDAYS[number - 1][:2]


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _cron(cron: Cron) -> str:
    """The five fields of a cron for Prefect; empty if it has no such days.

    Its croniter has L only alone, does not mix weekdays with MON#1, and skips March 1 of ``1,30``
    (``_get_next_nearest_diff`` in prefect/_vendor/croniter/croniter.py).
    """
    days, weekdays = cron.month_days or (), cron.week_days or ()
    kinds = {one.kind for one in weekdays}
    if days == (Day("last"),):
        day = "L"
    elif all(one.kind == "day" and (one.number < 29 or days[1:] == ()) for one in days):
        day = _numbers([one.number for one in days], 1, 31) if days else "*"
    else:
        return ""
    if kinds <= {"weekday"}:
        numbers = sorted(one.number for one in weekdays)
        weekday = _numbers(numbers, 1, 7, WEEKDAYS) if weekdays else "*"
    elif kinds == {"nth"}:
        weekday = ",".join(f"{WEEKDAYS[one.number - 1]}#{one.nth}" for one in weekdays)
    elif len(weekdays) == 1:
        weekday = f"L{weekdays[0].number - 1}"
    else:
        return ""
    times = _numbers(cron.minutes, 0, 59), _numbers(cron.hours, 0, 23)
    return " ".join((*times, day, _numbers(cron.months, 1, 12), weekday))


def _numbers(found: Sequence[int], low: int, high: int, names: Sequence[str] = ()) -> str:
    """A field of cron: ``*``, ``*/5``, ``9-17``, ``1,15``."""
    numbers = sorted(found)
    steps = {after - before for before, after in pairwise(numbers)}
    shown = [names[number - low] if names else str(number) for number in numbers]
    if len(numbers) < 3 or len(steps) > 1 or (names and steps != {1}):
        return ",".join(shown)
    step = steps.pop()
    text = f"{shown[0]}-{shown[-1]}"
    if numbers[0] == low and numbers[-1] + step > high:
        text = "*"
    return text if step == 1 else f"{text}/{step}"
