"""Branches by the time of day or the day of the week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sagebridge_operators.lifecycle.user_code.run_context import current_run


def branch_by_weekday(
    days: Sequence[int],
    if_true: Sequence[str],
    if_false: Sequence[str],
    of_run: bool = False,
    timezone: str = "UTC",
) -> list[str]:
    """The steps that run today, as BranchDayOfWeekOperator chooses them.

    Args:
        days: days of the week; Monday is 1.
        if_true: the names of the steps for these days.
        if_false: those for the other days.
        of_run: use the day of the run's date instead of today.
        timezone: the zone of today.
    """
    today = current_run().scheduled if of_run else datetime.now(UTC).astimezone(ZoneInfo(timezone))
    return list(if_true if today.isoweekday() in days else if_false)


def branch_by_time(
    if_true: Sequence[str],
    if_false: Sequence[str],
    lower: str | None = None,
    upper: str | None = None,
    of_run: bool = False,
    timezone: str = "UTC",
) -> list[str]:
    """The steps that run at this time, as BranchDateTimeOperator chooses them.

    Args:
        if_true: the names of the steps for a time within the limits.
        if_false: those for any other time.
        lower: the first limit in ISO 8601: a time of day, or a date and time.
        upper: the last limit.
        of_run: use the run's date instead of the current time.
        timezone: the zone of limits without one.
    """
    present = current_run().scheduled if of_run else datetime.now(UTC)
    first, last = (_moment(one, present, timezone) for one in (lower, upper))
    times_of_day = [one for one in (lower, upper) if one and _is_time(one)]
    if first is not None and last is not None and times_of_day and last < first:
        last += timedelta(days=1)
    after = first is None or first <= present
    before = last is None or present <= last
    return list(if_true if after and before else if_false)


def _is_time(text: str) -> bool:
    return "-" not in text.partition(":")[0] and ":" in text


def _moment(text: str | None, day: datetime, timezone: str) -> datetime | None:
    if text is None:
        return None
    if _is_time(text):
        found = datetime.combine(day, time.fromisoformat(text))
    else:
        found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(timezone))
