"""Unix cron, as Airflow and Prefect write it (both with croniter), as EventBridge's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from sagebridge.model.schedule_expressions import (
    MONTHS,
    WEEKDAYS,
    Cron,
    Day,
    ExpressionError,
    parse_expression,
)

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


def to_unix(expression: str) -> str:
    """The five fields that :func:`from_unix` reads as exactly this expression; empty if none.

    Their meaning for croniter, which Airflow and Prefect use, is the same.
    """
    try:
        parsed = parse_expression(expression)
        if not isinstance(parsed, Cron):
            return ""
        fields = [field.replace("?", "*") for field in parsed.fields[:5]]
        if not expression.startswith("unix"):  # croniter counts weekdays from 0
            fields[4] = re.sub(r"\b([1-7])L\b", lambda day: f"L{int(day[1]) - 1}", fields[4])
            fields[4] = re.sub(r"\b([1-7])#", lambda day: f"{int(day[1]) - 1}#", fields[4])
        same = not re.search(r"W|L.", fields[2]) and croniter_fields(fields) == fields
        return " ".join(fields) if same and from_unix(" ".join(fields)) == expression else ""
    except ExpressionError:
        return ""


_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_NAMES: Mapping[int, Sequence[str]] = {3: MONTHS, 4: WEEKDAYS}
_RANGE = re.compile(r"(\d{1,2}|[A-Z]{3})-(\d{1,2}|[A-Z]{3})(?:/(\d{1,2}))?", re.ASCII)


def croniter_fields(fields: Sequence[str], *, day_or: bool = True) -> list[str]:
    """Five fields without what only croniter reads in its way (``_expand`` and ``_calc_next``).

    It reads 5-5 as all values, counts the steps of ranges such as 21-3/2 in its own way, ignores a
    day field with all days next to a step, and a day of the month next to L5 or 5#3. Raises
    :class:`~sagebridge.model.schedule_expressions.ExpressionError`.
    """
    if len(fields) != len(_RANGES):
        return list(fields)
    found = [
        ",".join(_croniter_item(item, at) for item in text.upper().split(","))
        for at, text in enumerate(fields)
    ]
    parsed = parse_expression(f"unix({' '.join(found)})")
    assert isinstance(parsed, Cron)
    if "*" in found[2] and {one.number for one in parsed.week_days or ()} == {*range(1, 8)}:
        found[4] = "*"
    elif "*" in found[4] and len(parsed.month_days or ()) == 31:
        found[2] = "*"
    if day_or and re.search(r"#|L", found[4]):
        found[2] = "*"
    return found


def _croniter_item(item: str, at: int) -> str:
    """An item of the field ``at``; the numbers of a range that croniter reads in its way."""
    (low, high), names = _RANGES[at], _NAMES.get(at, ())
    # Prefect's croniter reads 59/5 as 59-59/5.
    item = re.sub(rf"^({high}|{names[-1] if names else high})(/\d+)$", r"\1-\1\2", item)
    match = _RANGE.fullmatch(item)
    if match is None:
        return item
    texts = match.groups()[:2]
    if any(one not in names and not one.isdigit() for one in texts):
        return item
    ends = [low + names.index(one) if one in names else int(one) for one in texts]
    if at == 4:  # Sunday is 0 and 7
        item, ends = re.sub(r"^7-", "0-", item), [one % 7 for one in ends]
    first, last = ends
    step = int(match[3] or 1)
    if not low <= last <= first <= high or not step or (step == 1 and first != last):
        return item
    numbers = list(range(low if first == last else first, high + 1, step))
    if first != last:
        left = high - numbers[-1]
        numbers += range(low + (step - left if left < step - 1 else 0), last + 1, step)
    return ",".join(map(str, dict.fromkeys(numbers)))


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
