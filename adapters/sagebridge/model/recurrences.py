"""The times of recurrence rules (RFC 5545), also long after their start.

dateutil computes all times since DTSTART, which takes minutes for a rule of each minute since 1970.
A rule that counts fixed intervals has the same times if it starts some intervals later.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from dateutil.rrule import (
    DAILY,
    HOURLY,
    MINUTELY,
    MONTHLY,
    SECONDLY,
    WEEKLY,
    YEARLY,
    rrule,
    rruleset,
    rrulestr,
)

_Rule: TypeAlias = "rrule | rruleset"
_LENGTHS = {
    WEEKLY: timedelta(weeks=1),
    DAILY: timedelta(days=1),
    HOURLY: timedelta(hours=1),
    MINUTELY: timedelta(minutes=1),
    SECONDLY: timedelta(seconds=1),
}
_LONGEST = 10**8
"""The largest INTERVAL."""
_MOST = 10_000
"""The largest COUNT: dateutil counts from the start, at each call."""
_BACK = (timedelta(hours=1), timedelta(days=2), timedelta(days=8), timedelta(days=366))
"""How far back the last time is looked for, before it is looked for since the start."""


def times_after(text: str, start: datetime, local: datetime) -> Iterator[datetime]:
    """The local times from ``local`` on, of a rule that starts at ``start`` without DTSTART.

    Raises ValueError, TypeError or KeyError for a rule that cannot be read.
    """
    yield from _later(parse_rule(text, start), local).xafter(local, inc=True)


def times_before(text: str, start: datetime, local: datetime) -> Iterator[datetime]:
    """As :func:`times_after`, up to ``local`` and descending."""
    found = parse_rule(text, start)
    last = _before(found, local, inc=True)
    while last is not None:
        yield last
        last = _before(found, last, inc=False)


@lru_cache(maxsize=64)
def parse_rule(text: str, start: datetime) -> _Rule:
    """The rule, or set of rules. Raises ValueError, TypeError or KeyError.

    Rules for which dateutil could compute for minutes are among those that cannot be read: it looks
    for the next time until the year 9999, and it cannot be interrupted.
    """
    try:
        found: _Rule = rrulestr(text, dtstart=start, ignoretz=True)
    except (OverflowError, ArithmeticError) as error:
        raise ValueError(str(error)) from None
    # dateutil has no public access to the parts of a set (rruleset in dateutil/rrule.py).
    if getattr(found, "_exrule", ()):
        raise ValueError("EXRULE is not supported, use EXDATE")
    for rule in getattr(found, "_rrule", (found,)):
        _check_effort(rule)
    return found


def _check_effort(rule: Any) -> None:
    if not 1 <= rule._interval <= _LONGEST:
        raise ValueError(f"INTERVAL is not between 1 and {_LONGEST:,}")
    if rule._count is not None and rule._count > _MOST:
        raise ValueError(f"COUNT is more than {_MOST:,}")
    days = (
        *(rule._bymonth, rule._bymonthday, rule._bynmonthday),
        *(rule._byyearday, rule._byweekno, rule._byeaster),
    )
    times = len(rule._timeset) if rule._freq == DAILY else 0
    if rule._bysetpos and rule._freq >= DAILY and min(map(abs, rule._bysetpos)) > times:
        raise ValueError("BYSETPOS selects none of the times of a day")
    if (any(days) and rule._freq >= MINUTELY) or (rule._byweekday and rule._freq == SECONDLY):
        raise ValueError("a rule for some days needs FREQ=DAILY, BYHOUR and BYMINUTE")
    endless = rule.replace(count=None, until=None)
    # The same days, year by year: the fastest way to find out that there are none.
    yearly = endless.replace(freq=YEARLY, interval=1, bysetpos=None)
    if (any(days) and _is_empty(yearly)) or _is_empty(endless):
        raise ValueError("it never fires")


def _is_empty(rule: rrule) -> bool:
    return next(iter(rule), None) is None


def _before(found: _Rule, local: datetime, *, inc: bool) -> datetime | None:
    for back in _BACK:
        rule: _Rule = _later(found, local - back)
        last = rule.before(local, inc=inc)
        if last is not None and last >= local - back:  # the rule lacks earlier times
            return last
    return found.before(local, inc=inc)


def _later(found: Any, near: datetime) -> Any:
    """The rule with as few times before ``near`` as possible, and the same times after it."""
    if isinstance(found, rruleset):
        result = rruleset()
        for name in ("_rrule", "_exrule"):
            for one in getattr(found, name):
                getattr(result, name[1:])(_later(one, near))
        for name in ("_rdate", "_exdate"):
            for date in getattr(found, name):
                getattr(result, name[1:])(date)
        return result
    if found._count is not None:
        return found
    if found._freq in (YEARLY, MONTHLY):
        return _some_months_later(found, near)
    length = _LENGTHS[found._freq]
    steps = (near - found._dtstart) // (length * found._interval) - 1
    if steps <= 0:
        return found
    return found.replace(dtstart=found._dtstart + steps * length * found._interval)


def _some_months_later(found: Any, near: datetime) -> Any:
    first, months = found._dtstart, found._interval * (12 if found._freq == YEARLY else 1)
    steps = ((near.year - first.year) * 12 + near.month - first.month) // months - 1
    if steps <= 0 or first.day > 28:  # not every month has that day
        return found
    years, month = divmod(first.month - 1 + steps * months, 12)
    return found.replace(dtstart=first.replace(year=first.year + years, month=month + 1))
