"""Describe a schedule: "at 10:15 on the last Friday of each month, Europe/Berlin"."""

from __future__ import annotations

import calendar
from collections.abc import Sequence

from sagebridge.model.schedule_expressions import (
    LAST_YEAR,
    At,
    Cron,
    Day,
    ExpressionError,
    Rate,
    in_largest_unit,
)
from sagebridge.model.schedules import Schedule

_NTH = ("", "first", "second", "third", "fourth", "fifth")
_FEW = 6
"""So many times of a day are listed."""


def in_words(schedule: Schedule) -> str:
    """When a schedule fires; its expression, if that cannot be read."""
    try:
        timing = schedule.timing
    except ExpressionError:
        return schedule.expression
    match timing:
        case At(time):
            return f"once, at {time:%H:%M:%S} on {time:%Y-%m-%d}, {schedule.timezone}"
        case Rate(delta):
            number, unit = in_largest_unit(delta)
            return f"every {unit}" if number == 1 else f"every {number} {unit}s"
        case Cron():
            parts = (_times(timing), _days(timing), _months(timing), _years(timing))
            return f"{' '.join(filter(None, parts))}, {schedule.timezone}"
    return f"by the rule {timing.text}, {schedule.timezone}"


def _times(cron: Cron) -> str:
    hours, minutes = cron.hours, cron.minutes
    if len(hours) * len(minutes) <= _FEW:
        return f"at {_list([f'{hour:02}:{minute:02}' for hour in hours for minute in minutes])}"
    if len(minutes) == 60:
        text = "every minute"
    elif (step := _step(minutes, 60)) is not None:
        text = f"every {step} minutes"
    elif len(minutes) == 1:
        text = f"{minutes[0]} minutes past the hour" if minutes[0] else "on the hour"
    else:
        text = f"at {_list(list(map(str, minutes)))} minutes past the hour"
    if len(hours) == 24:
        return text
    if (step := _step(hours, 24)) is not None:
        return f"{text}, every {step} hours"
    return f"{text}, in the hours {_numbers(hours)}"


def _step(numbers: Sequence[int], size: int) -> int | None:
    """The step of numbers that fill a range evenly, from 0 on."""
    if len(numbers) < 2 or size % len(numbers):
        return None
    step = size // len(numbers)
    return step if list(numbers) == list(range(0, size, step)) else None


def _days(cron: Cron) -> str:
    month = [_day(day) for day in cron.month_days or () if day.kind != "day"]
    numbers = [day.number for day in cron.month_days or () if day.kind == "day"]
    if numbers:
        month.insert(0, f"day {_numbers(numbers)}")
    plain = [day.number for day in cron.week_days or () if day.kind == "weekday"]
    week = [f"the {_day(day)}" for day in cron.week_days or () if day.kind != "weekday"]
    each_month = " of each month" if len(cron.months) == 12 else ""
    parts = []
    if month:
        parts.append(f"on {_list(month)}{each_month}")
    if plain == [2, 3, 4, 5, 6]:
        parts.append("from Monday to Friday")
    elif plain:
        parts.append(f"on {_list([_weekday(number) for number in plain])}")
    if week:
        parts.append(f"on {_list(week)}{each_month}")
    if not parts and len(cron.hours) * len(cron.minutes) <= _FEW and len(cron.months) == 12:
        return "every day"
    return " or ".join(parts)


def _day(day: Day) -> str:
    match day:
        case Day("last", 0):
            return "the last day"
        case Day("last", 1):
            return "the last day but one"
        case Day("last", offset):
            return f"the day {offset} days before the last"
        case Day("nearest", number):
            return f"the weekday nearest to day {number}"
        case Day("last-of", number):
            return f"last {_weekday(number)}"
        case Day("nth", number, nth):
            return f"{_NTH[nth]} {_weekday(number)}"
    return "the last weekday"


def _weekday(number: int) -> str:
    return calendar.day_name[(number - 2) % 7]


def _months(cron: Cron) -> str:
    if len(cron.months) == 12:
        return ""
    return f"in {_list([calendar.month_name[month] for month in cron.months])}"


def _years(cron: Cron) -> str:
    if cron.every_year:
        return ""
    if cron.years == tuple(range(cron.years[0], LAST_YEAR + 1)):
        return f"from {cron.years[0]} on"
    return f"in {_numbers(cron.years)}"


def _numbers(numbers: Sequence[int]) -> str:
    """``1, 3 and 5 to 9``."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    texts = []
    for group in groups:
        if len(group) > 2:
            texts.append(f"{group[0]} to {group[-1]}")
        else:
            texts += map(str, group)
    return _list(texts)


def _list(texts: Sequence[str]) -> str:
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)
