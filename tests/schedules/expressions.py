"""The list of expressions that the three engines are compared with, and more of each feature."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata")
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Case(NamedTuple):
    """One row of ``expressions.txt``."""

    expression: str
    zone: str
    features: tuple[str, ...]


def cases() -> list[Case]:
    """The 200 expressions, which name every feature of EventBridge's."""
    lines = Path(__file__).with_name("expressions.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    return [Case(text, zone, tuple(features.split(","))) for text, zone, features in rows]


def _numbers(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def _of(low: int, high: int, names: tuple[str, ...] = ()) -> dict[str, st.SearchStrategy[str]]:
    """Field items by their form."""
    one = _numbers(low, high)
    pair = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    step = st.integers(1, (high - low) // 2)
    found = {
        "list": st.lists(one, min_size=2, max_size=4).map(",".join),
        "range": pair.map(lambda p: f"{p[0]}-{p[1]}"),
        "wrap": pair.map(lambda p: f"{p[1]}-{p[0]}"),
        "step": st.builds(lambda a, n: f"{a}/{n}", st.just("*") | one, step),
        "range step": st.builds(lambda p, n: f"{p[0]}-{p[1]}/{n}", pair, step),
    }
    if names:
        found["names"] = st.lists(st.sampled_from(names), min_size=1, max_size=3).map(",".join)
    return found


_ANY, _NONE = st.just("*"), st.just("?")


def _cron(
    minute: st.SearchStrategy[str] | None = None,
    hour: st.SearchStrategy[str] | None = None,
    day: st.SearchStrategy[str] | None = None,
    month: st.SearchStrategy[str] | None = None,
    weekday: st.SearchStrategy[str] | None = None,
    year: st.SearchStrategy[str] | None = None,
) -> st.SearchStrategy[str]:
    return st.builds(
        lambda *fields: f"cron({' '.join(fields)})",
        _numbers(0, 59) if minute is None else minute,
        _numbers(0, 23) if hour is None else hour,
        _ANY if day is None and weekday is None else _NONE if day is None else day,
        _ANY if month is None else month,
        _NONE if weekday is None else weekday,
        _ANY if year is None else year,
    )


def features() -> dict[str, st.SearchStrategy[str]]:
    """Expressions by the feature that they have."""
    found = {
        "L": _cron(day=st.just("L")),
        "L-n": _cron(day=st.integers(1, 30).map(lambda n: f"L-{n}")),
        "LW": _cron(day=st.just("LW")),
        "W": _cron(day=st.integers(1, 31).map(lambda n: f"{n}W")),
        "last weekday": _cron(weekday=st.sampled_from((*NAMES, *"1234567")).map(lambda d: f"{d}L")),
        "nth weekday": _cron(
            weekday=st.builds(
                lambda d, n: f"{d}#{n}", st.sampled_from((*NAMES, *"1234567")), st.integers(1, 5)
            )
        ),
        "leap day": _cron(day=st.just("29"), month=st.just("2")),
        "month end": _cron(day=st.sampled_from(("29", "30", "31", "28-31", "31W"))),
        "every minute": _cron(minute=st.just("*"), hour=st.just("*") | _numbers(0, 3)),
        "years": _cron(
            day=st.sampled_from(("1", "L", "LW", "15W")),
            month=_numbers(1, 12),
            year=st.sampled_from(("2020-2040", "2024/3", "2019,2022,2030", "2026", "1970-2199")),
        ),
        "clocks": _cron(hour=_numbers(0, 3) | st.just("0-3")),
    }
    for name, field in _of(0, 59).items():
        found[f"minute {name}"] = _cron(minute=field)
    for name, field in _of(0, 23).items():
        found[f"hour {name}"] = _cron(hour=field)
    for name, field in _of(1, 31).items():
        found[f"day {name}"] = _cron(day=field)
    for name, field in _of(1, 12, MONTHS).items():
        found[f"month {name}"] = _cron(month=field)
    for name, field in _of(1, 7, NAMES).items():
        found[f"weekday {name}"] = _cron(weekday=field)
    return found


def instants() -> st.SearchStrategy[datetime]:
    """Instants near changes of clocks, leap days and ends of months, and any others."""
    special = st.sampled_from(
        (
            datetime(2026, 3, 8, 6, 59, tzinfo=UTC),  # New York forward at 07:00 UTC
            datetime(2026, 11, 1, 4, 59, tzinfo=UTC),  # New York back at 06:00 UTC
            datetime(2026, 3, 29, 0, 59, tzinfo=UTC),  # Berlin forward
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # Berlin back
            datetime(2026, 4, 4, 14, 45, tzinfo=UTC),  # Lord Howe back by half an hour
            datetime(2026, 10, 3, 15, 15, tzinfo=UTC),  # Lord Howe forward
            datetime(2028, 2, 28, 23, 59, tzinfo=UTC),
            datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
        )
    )
    plain = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1))  # noqa: DTZ001
    return special | plain.map(lambda one: one.replace(tzinfo=UTC))
