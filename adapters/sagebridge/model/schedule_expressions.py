"""Schedule expressions: those of EventBridge, and two that only engines have.

The rules of ``at``, ``rate`` and ``cron`` are those of the EventBridge Scheduler user guide
(Schedule types). EventBridge cannot express the other two: ``unix(0 4 1 * MON)`` has the five
fields of Unix cron, in which a day matches by its number *or* its weekday, and
``rrule(FREQ=MONTHLY;…)`` has a recurrence rule of RFC 5545.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from typing import Literal, NamedTuple, TypeAlias

from sagebridge.model.display import shown

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
"""The names of the weekdays; EventBridge counts them from 1."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
FIRST_YEAR, LAST_YEAR = 1970, 2199
_UNITS = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}


class ExpressionError(ValueError):
    """An invalid expression; the message is the problem, ``fix`` the advice."""

    def __init__(self, problem: str, fix: str = "") -> None:
        self.fix = fix
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class At:
    """One time, in the time zone of the schedule."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Rate:
    """A fixed interval, counted from the start of the schedule. A day has 24 hours."""

    delta: timedelta


@dataclass(frozen=True, slots=True)
class Rrule:
    """A recurrence rule of RFC 5545, such as ``FREQ=MONTHLY;BYMONTHDAY=-4``."""

    text: str


DayKind = Literal["day", "last", "nearest", "last-weekday", "weekday", "last-of", "nth"]


class Day(NamedTuple):
    """The days that one item of a day field selects in a month.

    ========================= ==================== =============================================
    item                      kind                 meaning of ``number`` and ``nth``
    ========================= ==================== =============================================
    ``15``                    ``day``              day of the month
    ``L``, ``L-3``            ``last``             days before the last day
    ``15W``                   ``nearest``          the day to which the nearest weekday is taken
    ``LW``                    ``last-weekday``
    ``2``, ``MON``            ``weekday``          1 is Sunday
    ``6L``                    ``last-of``          the last such weekday of the month
    ``6#3``                   ``nth``              the weekday, and which one of the month
    ========================= ==================== =============================================
    """

    kind: DayKind
    number: int = 0
    nth: int = 0

    def in_month(self, year: int, month: int) -> Iterator[int]:
        """The days of that month; none if it has no such day."""
        length = calendar.monthrange(year, month)[1]
        match self.kind:
            case "day" if self.number <= length:
                yield self.number
            case "last" if self.number < length:
                yield length - self.number
            case "nearest" if self.number <= length:
                yield _nearest_weekday(year, month, self.number, length)
            case "last-weekday":
                yield length - max(0, date(year, month, length).weekday() - 4)
            case "weekday" | "last-of" | "nth":
                first = 1 + (self.number - _weekday(year, month, 1)) % 7
                days = list(range(first, length + 1, 7))
                if self.kind == "weekday":
                    yield from days
                elif self.kind == "last-of":
                    yield days[-1]
                elif self.nth <= len(days):
                    yield days[self.nth - 1]


def _weekday(year: int, month: int, day: int) -> int:
    """The weekday of a date; 1 is Sunday."""
    return date(year, month, day).isoweekday() % 7 + 1


def _nearest_weekday(year: int, month: int, day: int, length: int) -> int:
    """Monday to Friday nearest to a day, without leaving the month."""
    weekday = _weekday(year, month, day)
    if weekday == 7:
        return day - 1 if day > 1 else day + 2
    if weekday == 1:
        return day + 1 if day < length else day - 2
    return day


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression; ``fields`` has its minute, hour, day of month, month, weekday and year.

    ``month_days`` and ``week_days`` are None if the field does not restrict the days. If both do, a
    day needs to match one of them, as in Unix cron; EventBridge does not allow that.
    """

    fields: tuple[str, str, str, str, str, str]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: tuple[Day, ...] | None
    months: tuple[int, ...]
    week_days: tuple[Day, ...] | None
    years: tuple[int, ...]

    @property
    def every_year(self) -> bool:
        return len(self.years) == LAST_YEAR - FIRST_YEAR + 1

    @property
    def day_or(self) -> bool:
        """Whether a day matches one of two fields, which only Unix cron can express."""
        return self.month_days is not None and self.week_days is not None

    def has(self, local: datetime) -> bool:
        """Whether it fires at a local time."""
        return (
            local.minute in self.minutes
            and local.hour in self.hours
            and local.month in self.months
            and local.year in self.years
            and local.day in self.days(local.year, local.month)
        )

    def days(self, year: int, month: int) -> tuple[int, ...]:
        """The matching days of a month, ascending."""
        items = (*(self.month_days or ()), *(self.week_days or ()))
        if self.month_days is None and self.week_days is None:
            return tuple(range(1, calendar.monthrange(year, month)[1] + 1))
        return tuple(sorted({day for item in items for day in item.in_month(year, month)}))


Timing: TypeAlias = At | Rate | Cron | Rrule
_LONGEST = 10_000
"""Prefect's rules have up to 6,500 characters; a longer expression would slow down a scheduler."""
_FORMS = "expected cron(…), rate(…) or at(…)"
_CALL = re.compile(r"\s*([a-z]+)\((.*)\)\s*", re.DOTALL)


@lru_cache(maxsize=512)
def parse_expression(text: str) -> Timing:
    """The meaning of an expression. Raises :class:`ExpressionError`."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"{shown(text)} has more than {_LONGEST:,} characters")
    match = _CALL.fullmatch(text)
    form, inside = (match[1], match[2].strip()) if match else ("", "")
    match form:
        case "at":
            return _at(inside)
        case "rate":
            return _rate(inside)
        case "cron":
            return _eventbridge(inside)
        case "unix":
            return _unix(inside)
        case "rrule":
            return _rrule(inside)
    fix, fields = "", text.split()
    if len(fields) in (5, 6) and not match:
        fix = f"write cron({_with_year(fields) if len(fields) == 5 else ' '.join(fields)})"
    raise ExpressionError(f"{shown(text)} is not a schedule expression; {_FORMS}", fix)


def _at(inside: str) -> At:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", inside):
        raise ExpressionError(f"at({inside}): expected at(yyyy-mm-ddThh:mm:ss), without a zone")
    try:
        return At(datetime.fromisoformat(inside))
    except ValueError as error:
        raise ExpressionError(f"at({inside}): {error}") from None


def _rate(inside: str) -> Rate:
    match = re.fullmatch(r"(\d{1,9})\s+(second|minute|hour|day)(s?)", inside)
    if match is None or int(match[1]) < 1:
        raise ExpressionError(f"rate({inside}): expected a number and minutes, hours or days")
    try:
        return Rate(timedelta(seconds=int(match[1]) * _UNITS[match[2]]))
    except OverflowError:
        raise ExpressionError(f"rate({inside}): the interval is too long") from None


def in_largest_unit(delta: timedelta) -> tuple[int, str]:
    """The number and unit of an interval of whole seconds, such as ``(90, "minute")``."""
    seconds = int(delta.total_seconds())
    name, unit = next(one for one in _UNITS.items() if not seconds % one[1])
    return seconds // unit, name


def rate_expression(delta: timedelta) -> str:
    """The expression for an interval of whole seconds."""
    number, unit = in_largest_unit(delta)
    return f"rate({number} {unit}{'s' * (number != 1)})"


def _rrule(inside: str) -> Rrule:
    if not re.search(r"FREQ=[A-Z]+", inside):
        raise ExpressionError(f"rrule({shown(inside)}): expected a rule with FREQ=")
    return Rrule(inside)


def _eventbridge(inside: str) -> Cron:
    fields = inside.upper().split()
    if len(fields) != 6:
        fix = f"write cron({_with_year(fields)})" if len(fields) == 5 else ""
        names = "minute, hour, day of month, month, weekday and year"
        raise ExpressionError(f"cron({inside}) has {len(fields)} fields, expected {names}", fix)
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ExpressionError(
            f"cron({inside}): day of month is {fields[2]} and weekday is {fields[4]}",
            "write ? in exactly one of them",
        )
    return _cron(fields, first_weekday=1)


def _with_year(fields: Sequence[str]) -> str:
    """Five fields of Unix cron as six of EventBridge, for a message; weekdays as names."""
    minute, hour, day, month, weekday = fields
    if weekday == "*":
        weekday = "?"
    elif day == "*":
        day = "?"
    names = re.sub(r"(?<![#\d])[0-7](?![\d])", lambda found: WEEKDAYS[int(found[0]) % 7], weekday)
    return f"{minute} {hour} {day} {month} {names} *"


def _unix(inside: str) -> Cron:
    fields = inside.upper().split()
    if len(fields) != 5:
        raise ExpressionError(f"unix({inside}) has {len(fields)} fields, expected five")
    return _cron([*fields, "*"], first_weekday=0)


def _cron(fields: Sequence[str], first_weekday: int) -> Cron:
    minute, hour, day, month, weekday, year = fields
    problems: list[str] = []

    def numbers(name: str, text: str, low: int, high: int, names: Sequence[str] = ()) -> list[int]:
        try:
            return sorted(
                {n for item in text.split(",") for n in _range(item, low, high, names, low)}
            )
        except ExpressionError as error:
            problems.append(f"{name} {text}: {error}")
            return []

    def days(name: str, text: str, read: Callable[[str], Iterator[Day]]) -> tuple[Day, ...] | None:
        if text in ("*", "?"):
            return None
        try:
            return tuple(dict.fromkeys(one for item in text.split(",") for one in read(item)))
        except ExpressionError as error:
            problems.append(f"{name} {text}: {error}")
            return ()

    cron = Cron(
        (minute, hour, day, month, weekday, year),
        tuple(numbers("minute", minute, 0, 59)),
        tuple(numbers("hour", hour, 0, 23)),
        days("day of month", day, _month_days),
        tuple(numbers("month", month, 1, 12, MONTHS)),
        days("weekday", weekday, partial(_week_days, first_weekday)),
        tuple(numbers("year", year, FIRST_YEAR, LAST_YEAR)),
    )
    if problems:
        raise ExpressionError("; ".join(problems))
    return cron


_ITEM = re.compile(r"(?:(\*)|([A-Z]+|\d{1,4})(?:-([A-Z]+|\d{1,4}))?)(?:/(\d{1,4}))?")


def _range(item: str, low: int, high: int, names: Sequence[str], base: int) -> Iterator[int]:
    """The numbers of ``*``, ``5``, ``5-9``, ``*/5``, ``5/15`` or ``5-9/2``.

    ``base`` is the number of the first name. A range from a higher to a lower number goes on from
    the start, as FRI-MON; for years it is an error.
    """
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ExpressionError(f"{item!r} is not a number, name or range")
    star, first, last, step = match.groups()
    by = int(step) if step else 1
    if by < 1 or by > high - low + 1:
        raise ExpressionError(f"the step {by} is not between 1 and {high - low + 1}")
    if star:
        yield from range(low, high + 1, by)
        return
    start = _number(first, low, high, names, base)
    unstated = high if step else start
    end = unstated if last is None else _number(last, low, high, names, base)
    if start <= end:
        yield from range(start, end + 1, by)
    elif high > 1000:
        raise ExpressionError(f"the range {item} goes backwards")
    else:
        size = high - low + 1
        yield from ((one - low) % size + low for one in range(start, end + size + 1, by))


def _number(text: str, low: int, high: int, names: Sequence[str], base: int) -> int:
    number = base + names.index(text) if text in names else -1
    if text.isdigit():
        number = int(text)
    if not low <= number <= high:
        expected = f"{low} to {high}" + (f" or {names[0]} to {names[-1]}" if names else "")
        raise ExpressionError(f"{text} is not {expected}")
    return number


def _month_days(item: str) -> Iterator[Day]:
    """The days of an item of a day of month field."""
    if item == "LW":
        yield Day("last-weekday")
    elif match := re.fullmatch(r"L(?:-(\d{1,4}))?", item):
        offset = int(match[1] or 0)
        if offset > 30:
            raise ExpressionError(f"{item}: no month has that many days before its last")
        yield Day("last", offset)
    elif match := re.fullmatch(r"(\d{1,4})W", item):
        yield Day("nearest", _number(match[1], 1, 31, (), 1))
    else:
        yield from (Day("day", number) for number in _range(item, 1, 31, (), 1))


def _week_days(sunday: int, item: str) -> Iterator[Day]:
    """The days of an item of a weekday field, in which Sunday has the number ``sunday``."""

    def from_one(number: int) -> int:
        return number % 7 + 1 if sunday == 0 else number

    def one(text: str) -> int:
        return from_one(_number(text, sunday, 7, WEEKDAYS, sunday))

    if item == "L":
        yield Day("weekday", 7)
    elif match := re.fullmatch(r"([A-Z]{3}|\d)L", item) or re.fullmatch(r"L([0-7])", item):
        yield Day("last-of", one(match[1]))
    elif match := re.fullmatch(r"([A-Z]{3}|\d)#(\d)", item):
        nth = int(match[2])
        if not 1 <= nth <= 5:
            raise ExpressionError(f"{item}: a month has no weekday number {nth}")
        yield Day("nth", one(match[1]), nth)
    else:
        # Unix cron has two numbers for Sunday: 0, and in ranges of numbers or alone 7.
        has_seven = re.fullmatch(r"[^A-Z]*-[^A-Z]*|7[^A-Z]*", item)
        high = 7 if sunday or has_seven else 6
        yield from (
            Day("weekday", from_one(number))
            for number in _range(item, sunday, high, WEEKDAYS, sunday)
        )
