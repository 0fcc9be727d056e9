"""Prefect's RRules as cron expressions with the same times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sagebridge.authoring.clock_changes import changes_clocks
from sagebridge.model.fire_times import instant_of, zone
from sagebridge.model.schedule_expressions import WEEKDAYS, Cron, Day

_ANCHOR = datetime(2020, 1, 1)  # noqa: DTZ001 - a local time
"""The start of a rule without DTSTART (DEFAULT_ANCHOR_DATE in Prefect's schedules.py)."""
_DAY_NAMES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_UNITS = {"DAILY": "day", "HOURLY": "hour", "MINUTELY": "minute", "SECONDLY": "second"}
_KEYS = frozenset(
    ("FREQ", "INTERVAL", "WKST", "UNTIL", "BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYDAY")
)
_KEYS |= {"BYHOUR", "BYMINUTE", "BYSECOND"}
_WEEKDAY = re.compile(r"([+-]?\d+)?(MO|TU|WE|TH|FR|SA|SU)")


class Recurrence(NamedTuple):
    """An expression with the local times between which it counts."""

    expression: str
    start: datetime | None = None
    end: datetime | None = None
    skips: bool = False
    """Whether the rule itself excludes the local times that changes of clocks skip."""


class _NotCron(Exception):
    """A rule that no cron expression replaces."""


def read_rule(text: str, timezone: str = "UTC") -> Recurrence:
    """The expression of a rule: ``cron(…)`` or ``rate(…)`` if it has the same times.

    Otherwise it is ``rrule(…)``.

    A rule without DTSTART gets Prefect's, because its intervals count from there. An invalid rule
    becomes ``rrule(…)``, too, and ``validate`` reports it.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    try:
        return _simpler(lines, timezone)
    except (_NotCron, ArithmeticError, KeyError, ValueError):
        pass
    if not any(line.upper().startswith("DTSTART") for line in lines):
        rules = [line if ":" in line else f"RRULE:{line}" for line in lines]
        lines = [f"DTSTART:{_ANCHOR:%Y%m%dT%H%M%S}", *rules]
    return Recurrence("rrule({})".format("\n".join(lines)))


def _simpler(lines: Sequence[str], timezone: str) -> Recurrence:
    start, rule, skips = None, "", False
    for line in lines:
        name, _, value = line.rpartition(":")
        name = name.upper().partition(";")[0]
        if name == "DTSTART" and start is None:
            start = _time(value)
        elif name in ("", "RRULE") and not rule:
            rule = value.upper()
        elif name == "EXDATE" and not any(
            instant_of(_time(one), zone(timezone)) for one in value.split(",")
        ):
            skips = True
        else:
            raise _NotCron
    parts = dict(one.split("=", 1) for one in rule.rstrip(";").split(";"))
    end = _time(parts["UNTIL"]) if "UNTIL" in parts else None
    if not _KEYS.issuperset(parts) or parts["FREQ"] not in _FREQUENCIES:
        raise _NotCron
    try:
        expression = _Rule(parts, start or _ANCHOR).expression()
    except _NotCron:
        if changes_clocks(timezone):
            raise
        expression, start = _rate(parts), start or _ANCHOR
    return Recurrence(expression, start, end, skips)


def _rate(parts: Mapping[str, str]) -> str:
    """The rate of a rule with only an interval, in a zone without changes of clocks."""
    unit = _UNITS.get(parts["FREQ"])
    number = int(parts.get("INTERVAL", 1))
    if unit is None or number < 1 or not {"FREQ", "INTERVAL", "UNTIL", "WKST"}.issuperset(parts):
        raise _NotCron
    return f"rate({number} {unit}{'s' * (number != 1)})"


def _time(text: str) -> datetime:
    """A local time; Prefect ignores a Z."""
    form = "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d"
    return datetime.strptime(text.rstrip("Zz"), form)  # noqa: DTZ007


@dataclass(frozen=True, slots=True)
class _Rule:
    """The parts of one rule; missing parts follow from its start, as in dateutil."""

    parts: Mapping[str, str]
    start: datetime

    def expression(self) -> str:
        interval, frequency = int(self.parts.get("INTERVAL", 1)), self.parts["FREQ"]
        if frequency == "SECONDLY" or (interval != 1 and frequency not in ("HOURLY", "MINUTELY")):
            raise _NotCron
        every_minute = frequency == "MINUTELY"
        seconds = self._numbers("BYSECOND") or [self.start.second]
        minutes = self._steps("BYMINUTE", self.start.minute, 60, every_minute, interval)
        every_hour = every_minute or frequency == "HOURLY"
        step = interval if frequency == "HOURLY" else 1
        hours = self._steps("BYHOUR", self.start.hour, 24, every_hour, step)
        if seconds != [0]:
            raise _NotCron
        day, month, weekday = self._days(one_time=len(minutes) == len(hours) == 1)
        return f"cron({_text(minutes, 60)} {_text(hours, 24)} {day} {month} {weekday} *)"

    def _steps(self, key: str, first: int, size: int, every: bool, step: int) -> list[int]:
        """The minutes or hours; ``every``: all, or every ``step`` from the start's."""
        given = self._numbers(key)
        if not every:
            return given or [first]
        if size % step:
            raise _NotCron
        found = range(first % step, size, step)
        return [one for one in found if not given or one in given] or self._never()

    def _never(self) -> list[int]:
        raise _NotCron

    def _numbers(self, key: str) -> list[int]:
        return sorted({int(one) for one in self.parts[key].split(",")}) if key in self.parts else []

    def _days(self, *, one_time: bool) -> tuple[str, str, str]:
        """Day of month, month and weekday."""
        frequency, months = self.parts["FREQ"], self._numbers("BYMONTH")
        month_days, weekdays = self._numbers("BYMONTHDAY"), list(self._weekdays())
        if not month_days and not weekdays:
            if frequency == "YEARLY":
                months = months or [self.start.month]
            if frequency in ("YEARLY", "MONTHLY"):
                month_days = [self.start.day]
            elif frequency == "WEEKLY":
                weekdays = [(None, self.start.weekday())]
        month = _text(months, 12, first=1) if months else "*"
        if "BYSETPOS" in self.parts:
            day, weekday = self._position(month_days, weekdays, one_time=one_time)
        elif weekdays:
            day, weekday = "?", _weekday_field(_without_days(month_days, weekdays))
        else:
            day, weekday = ",".join(map(_month_day, month_days)) or "*", "?"
        return day, month, weekday

    def _weekdays(self) -> Iterator[tuple[int | None, int]]:
        """Which one of the month, None for all, and the weekday from Monday, 0."""
        frequency = self.parts["FREQ"]
        for one in self.parts["BYDAY"].split(",") if "BYDAY" in self.parts else ():
            match = _WEEKDAY.fullmatch(one)
            if match is None or (
                match[1] and frequency == "YEARLY" and "BYMONTH" not in self.parts
            ):
                raise _NotCron
            # dateutil counts weekdays only in months and years.
            counted = match[1] and frequency in ("YEARLY", "MONTHLY")
            yield int(match[1]) if counted else None, _DAY_NAMES.index(match[2])

    def _position(
        self, month_days: list[int], weekdays: list[tuple[int | None, int]], *, one_time: bool
    ) -> tuple[str, str]:
        """Day of month and weekday of a rule such as ``BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1``."""
        days = sorted(day for nth, day in weekdays if nth is None)
        position = int(self.parts["BYSETPOS"])
        plain = len(days) == len(weekdays) and not month_days and one_time
        if not plain or self.parts["FREQ"] != "MONTHLY":
            raise _NotCron
        if days == [0, 1, 2, 3, 4] and position in (1, -1):
            return ("1W" if position == 1 else "LW"), "?"
        if len(days) != 1:
            raise _NotCron
        return "?", _weekday_field([(position, days[0])])


def _without_days(
    month_days: list[int], weekdays: list[tuple[int | None, int]]
) -> list[tuple[int | None, int]]:
    """The weekdays; those of one week of the month, as in days 8 to 14, are the second ones."""
    if not month_days:
        return weekdays
    week = month_days[0] // 7 + 1
    if month_days != list(range(7 * week - 6, 7 * week + 1)) or any(nth for nth, _ in weekdays):
        raise _NotCron
    return [(week, day) for _, day in weekdays]


def _month_day(number: int) -> str:
    if number > 0:
        return str(number)
    return "L" if number == -1 else f"L{number + 1}"


def _weekday_field(days: Sequence[tuple[int | None, int]]) -> str:
    found = []
    for nth, day in sorted(days, key=lambda one: (one[0] or 0, (one[1] + 1) % 7)):
        number = (day + 1) % 7 + 1
        if nth is None:
            found.append(WEEKDAYS[number - 1])
        elif nth == -1:
            found.append(f"{number}L")
        elif 1 <= nth <= 5:
            found.append(f"{number}#{nth}")
        else:
            raise _NotCron
    return "MON-FRI" if found == list(WEEKDAYS[1:6]) else ",".join(found)


def _text(numbers: Sequence[int], size: int, first: int = 0) -> str:
    """A field of a cron expression: ``*``, ``5/15``, ``9-17`` or a list."""
    if len(numbers) > 2:
        step = numbers[1] - numbers[0]
        if list(numbers) == list(range(numbers[0], size + first, step)):
            start = "*" if numbers[0] == first else str(numbers[0])
            return start if step == 1 and start == "*" else f"{start}/{step}"
        if list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def rule_of(cron: Cron, seconds: Sequence[int] = (0,)) -> str | None:
    """A rule for days that match both day fields, as ``day_or=False``, and for seconds.

    None if no rule can have these days.
    """
    both = {"BYMONTHDAY": _month_days(cron.month_days), "BYDAY": _by_day(cron.week_days)}
    if None in both.values():
        return None
    parts = {
        "FREQ": "MONTHLY" if cron.month_days or cron.week_days else "DAILY",
        "BYMONTH": cron.months if len(cron.months) < 12 else (),
        **both,
        "BYHOUR": cron.hours,
        "BYMINUTE": cron.minutes,
        "BYSECOND": seconds,
    }
    return ";".join(
        f"{name}={value if isinstance(value, str) else ','.join(map(str, value))}"
        for name, value in parts.items()
        if value
    )


def _month_days(days: Sequence[Day] | None) -> list[int] | None:
    found = []
    for day in days or ():
        if day.kind not in ("day", "last"):
            return None
        found.append(day.number if day.kind == "day" else -1 - day.number)
    return found


def _by_day(days: Sequence[Day] | None) -> list[str] | None:
    found = []
    for day in days or ():
        nth = {"weekday": "", "last-of": "-1"}.get(day.kind, str(day.nth))
        found.append(f"{nth}{_DAY_NAMES[(day.number - 2) % 7]}")
    # dateutil requires a day to match the plain weekdays and the counted ones.
    return found if len({len(one) > 2 for one in found}) <= 1 else None
