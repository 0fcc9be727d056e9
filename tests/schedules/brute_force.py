"""A second implementation of EventBridge's rules, slow and obvious, to test the first one.

It tests every day and every minute, and looks for the instants of a local time by trying all
offsets of the zone. It shares no code with ``sagebridge.model``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def fire_times(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """The next times of ``cron(…)`` after an instant, in UTC."""
    fields = expression.removeprefix("cron(").removesuffix(")").upper().split()
    return list(islice(_instants(fields, ZoneInfo(zone), after), count))


def _instants(fields: list[str], zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    minute, hour, day, month, weekday, year = fields
    today = after.astimezone(zone).date() - timedelta(days=1)
    clock = [
        (h, m)
        for h in range(24)
        for m in range(60)
        if _selects(hour, h, 0, 23, []) and _selects(minute, m, 0, 59, [])
    ]
    while today.year < 2200:
        if not (
            _selects(year, today.year, 1970, 2199, [])
            and _selects(month, today.month, 1, 12, _MONTHS)
        ):
            today = _last(today) + timedelta(days=1)
            continue
        if _month_day(day, today) and _week_day(weekday, today):
            for h, m in clock:
                for instant in _real(today, h, m, zone)[:1]:
                    if instant > after:
                        yield instant
        today += timedelta(days=1)


def _real(day: date, hour: int, minute: int, zone: ZoneInfo) -> list[datetime]:
    """The instants at which the clocks of the zone show that time; two, one or none."""
    shown = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
    near = (shown + timedelta(hours=h) for h in range(-26, 27, 4))
    offsets = {one.astimezone(zone).utcoffset() or timedelta() for one in near}
    found = {shown - offset for offset in offsets}
    return sorted(one for one in found if one.astimezone(zone).replace(tzinfo=UTC) == shown)


def _selects(text: str, value: int, low: int, high: int, names: list[str]) -> bool:
    return any(_item(item, value, low, high, names) for item in text.split(","))


def _item(item: str, value: int, low: int, high: int, names: list[str]) -> bool:
    item, _, step = item.partition("/")
    first, _, last = item.partition("-")
    start = low if first == "*" else _value(first, low, names)
    unstated = high if step or first == "*" else start
    end = _value(last, low, names) if last else unstated
    position, size = start, high - low + 1
    if end < start:
        end += size
    while position <= end:
        if (position - low) % size + low == value:
            return True
        position += int(step or 1)
    return False


def _value(text: str, low: int, names: list[str]) -> int:
    return low + names.index(text) if text in names else int(text)


def _last(day: date) -> date:
    day = day.replace(day=28)
    while (day + timedelta(days=1)).month == day.month:
        day += timedelta(days=1)
    return day


def _is_work(day: date) -> bool:
    return day.strftime("%a") not in ("Sat", "Sun")


def _month_day(text: str, day: date) -> bool:
    if text == "?":
        return True
    month = [day.replace(day=1) + timedelta(days=n) for n in range(_last(day).day)]
    work = [one for one in month if _is_work(one)]
    for item in text.split(","):
        if item == "LW":
            found = day == work[-1]
        elif item.startswith("L"):
            found = day == _last(day) - timedelta(days=int(item[2:] or 0))
        elif item.endswith("W"):
            wanted = int(item[:-1])
            near = sorted(work, key=lambda one: (abs(one.day - wanted), one.day))
            found = wanted <= len(month) and day == near[0]
        else:
            found = _item(item, day.day, 1, 31, [])
        if found:
            return True
    return False


def _week_day(text: str, day: date) -> bool:
    if text == "?":
        return True
    number = _DAYS.index(day.strftime("%a").upper()) + 1
    for item in text.split(","):
        if item == "L":
            found = number == 7
        elif item.endswith("L"):
            found = _value(item[:-1], 1, _DAYS) == number and day + timedelta(days=7) > _last(day)
        elif "#" in item:
            which, _, nth = item.partition("#")
            found = _value(which, 1, _DAYS) == number and (day.day + 6) // 7 == int(nth)
        else:
            found = _item(item, number, 1, 7, _DAYS)
        if found:
            return True
    return False
