"""Airflow's ``macros`` and ``timezone``, for templates and code."""

from __future__ import annotations

import datetime as dt
import json
import random as _random
import time
import uuid
from typing import Any

import dateutil.parser

datetime, timedelta = dt.datetime, dt.timedelta
random = _random.random
utc = dt.UTC

__all__ = [
    "date_time",
    "datetime",
    "datetime_diff_for_humans",
    "dateutil",
    "ds_add",
    "ds_format",
    "json",
    "random",
    "time",
    "timedelta",
    "uuid",
]


def ds_add(ds: str, days: int) -> str:
    """A date ``YYYY-MM-DD`` plus a number of days."""
    if not days:
        return str(ds)
    return (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """A date in another format of ``strftime``."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)


def date_time(moment: Any) -> Any:
    """A moment as pendulum's DateTime, which Airflow uses, if pendulum is installed."""
    try:
        import pendulum
    except ImportError:  # Prefect needs it up to Python 3.12 only
        return moment
    return pendulum.instance(moment)


def datetime_diff_for_humans(dt: Any, since: Any = None) -> str:
    """The time between two moments, such as ``2 days before``; needs pendulum."""
    text: str = date_time(dt).diff_for_humans(since)
    return text


def utcnow() -> Any:
    """The current time in UTC."""
    return date_time(datetime.now(utc))


def timezone_datetime(*args: Any, **more: Any) -> Any:
    """A moment, in UTC unless ``tzinfo`` is given."""
    return date_time(datetime(*args, **{"tzinfo": utc, **more}))


def timezone_parse(string: str, timezone: Any = None) -> Any:
    """The moment in a string; without an offset in the time zone, or in UTC."""
    moment = dateutil.parser.parse(string)
    return date_time(moment if moment.tzinfo else moment.replace(tzinfo=timezone or utc))


class timezone:  # noqa: N801 - as Airflow's module
    """The timezone module of Airflow."""

    utc = utc
    utcnow = staticmethod(utcnow)
    datetime = staticmethod(timezone_datetime)
    parse = staticmethod(timezone_parse)

    @staticmethod
    def make_aware(value: Any, timezone: Any = None) -> Any:
        """A naive moment in a time zone, or in UTC."""
        return date_time(value.replace(tzinfo=timezone or utc))

    @staticmethod
    def is_naive(value: Any) -> bool:
        """Whether a moment has no time zone."""
        return value.utcoffset() is None

    @staticmethod
    def is_localized(value: Any) -> bool:
        """Whether a moment has a time zone."""
        return value.utcoffset() is not None
