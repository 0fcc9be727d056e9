"""Unix cron, as Airflow and Prefect write it (both with croniter), as EventBridge's."""

from __future__ import annotations

import re
from itertools import pairwise

from sagebridge.model.schedule_expressions import WEEKDAYS, Cron, Day, parse_expression

PRESETS = {
    "@annually": "0 0 1 1 *",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@midnight": "0 0 * * *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@yearly": "0 0 1 1 *",
}
"""The names of croniter for five fields."""


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
    return f"cron({minute} {hour} ? {month} {_weekdays(parsed.week_days)} {year})"


def _weekdays(days: tuple[Day, ...]) -> str:
    """A weekday field of EventBridge."""
    texts = []
    for day in days:
        match day.kind:
            case "last-of":
                texts.append(f"{day.number}L")
            case "nth":
                texts.append(f"{day.number}#{day.nth}")
            case _:
                texts.append(WEEKDAYS[day.number - 1])
    steps = {b.number - a.number for a, b in pairwise(days)}
    if len(days) > 2 and steps == {1} and all(day.kind == "weekday" for day in days):
        return f"{texts[0]}-{texts[-1]}"
    return ",".join(texts)
