"""Unix cron, as Airflow and Prefect write it (both with croniter), to EventBridge's and back."""

from __future__ import annotations

import re
from itertools import pairwise

from sagebridge.model.schedule_expressions import (
    WEEKDAYS,
    Cron,
    Day,
    parse_expression,
)


def from_unix(text: str) -> str:
    """The expression for five fields of Unix cron: ``cron(…)`` if EventBridge can express it.

    Otherwise, if both day fields restrict the days, ``unix(…)``. Raises
    :class:`~sagebridge.model.schedule_expressions.ExpressionError`.
    """
    fields = re.sub(r"\bL([0-7])\b", r"\1L", text.upper()).split()
    parsed = parse_expression(f"unix({' '.join(fields)})")
    assert isinstance(parsed, Cron)
    minute, hour, day, month, _, year = parsed.fields
    if parsed.day_or:
        return f"unix({' '.join(text.split())})"
    if parsed.week_days is None:
        day = "*" if parsed.month_days is None else day
        return f"cron({minute} {hour} {day} {month} ? {year})"
    return f"cron({minute} {hour} ? {month} {weekday_names(parsed.week_days)} {year})"


def to_unix(cron: Cron) -> str | None:
    """Five fields with the same meaning on every ordinary day; None if Unix cron has no words.

    That is so for years, ``LW``, ``L-3``, and ``15W`` with other days.
    """
    day = _month_days(cron)
    if not cron.every_year or day is None:
        return None
    minute, hour, _, month, _, _ = cron.fields
    written = ((minute, cron.minutes), (hour, cron.hours), (month, cron.months))
    minute, hour, month = (
        ",".join(map(str, numbers)) if _goes_back(text) else text for text, numbers in written
    )
    weekday = "*" if cron.week_days is None else weekday_names(cron.week_days, unix=True)
    return f"{minute} {hour} {day} {month} {weekday}"


def _goes_back(text: str) -> bool:
    """Whether a field has a range such as 22-2, which croniter may not know."""
    pairs = re.findall(r"(\w+)-(\w+)", text)
    return any(not a.isdigit() or not b.isdigit() or int(a) > int(b) for a, b in pairs)


def _month_days(cron: Cron) -> str | None:
    if cron.month_days is None:
        return "*"
    texts = []
    for day in cron.month_days:
        match day:
            case Day("day", number):
                texts.append(str(number))
            case Day("last", 0):
                texts.append("L")
            case Day("nearest", number) if len(cron.month_days) == 1:
                texts.append(f"{number}W")
            case _:
                return None
    plain = all(day.kind == "day" for day in cron.month_days)
    return cron.fields[2] if plain and not _goes_back(cron.fields[2]) else ",".join(texts)


def weekday_names(days: tuple[Day, ...], *, unix: bool = False) -> str:
    """A weekday field of EventBridge, or of Unix cron, whose numbers are smaller by one."""
    texts = []
    for day in days:
        number = day.number - unix
        match day.kind:
            case "last-of":
                texts.append(f"L{number}" if unix else f"{number}L")
            case "nth":
                texts.append(f"{number}#{day.nth}")
            case _:
                texts.append(WEEKDAYS[day.number - 1])
    steps = {b.number - a.number for a, b in pairwise(days)}
    if len(days) > 2 and steps == {1} and all(day.kind == "weekday" for day in days):
        return f"{texts[0]}-{texts[-1]}"
    return ",".join(texts)
