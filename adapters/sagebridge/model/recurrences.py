"""The times of recurrence rules (RFC 5545), also long after their start.

dateutil computes all times since DTSTART, which takes minutes for a rule of each minute since 1970.
A rule that counts fixed intervals has the same times if it starts some intervals later.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from dateutil.rrule import DAILY, HOURLY, MINUTELY, SECONDLY, WEEKLY, rrule, rruleset, rrulestr

_Rule: TypeAlias = "rrule | rruleset"
_LENGTHS = {
    WEEKLY: timedelta(weeks=1),
    DAILY: timedelta(days=1),
    HOURLY: timedelta(hours=1),
    MINUTELY: timedelta(minutes=1),
    SECONDLY: timedelta(seconds=1),
}
_BACK = (timedelta(hours=1), timedelta(days=2), timedelta(days=366))
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


def parse_rule(text: str, start: datetime) -> _Rule:
    """The rule, or set of rules. Raises ValueError, TypeError or KeyError."""
    found: _Rule = rrulestr(text, dtstart=start, ignoretz=True)
    return found


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
        # dateutil has no public access to the parts of a set (rruleset in dateutil/rrule.py).
        result = rruleset()
        for name in ("_rrule", "_exrule"):
            for one in getattr(found, name):
                getattr(result, name[1:])(_later(one, near))
        for name in ("_rdate", "_exdate"):
            for date in getattr(found, name):
                getattr(result, name[1:])(date)
        return result
    length = _LENGTHS.get(found._freq)
    if length is None or found._count is not None:
        return found
    steps = (near - found._dtstart) // (length * found._interval) - 1
    if steps <= 0:
        return found
    return found.replace(dtstart=found._dtstart + steps * length * found._interval)
