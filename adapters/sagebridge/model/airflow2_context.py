"""Dates in Airflow's context that Airflow 3 no longer has, and carried code may use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

_DAY = "%Y-%m-%d"
_PLAIN = "%Y%m%d"
OLD_DATES: Mapping[str, tuple[str, int, str]] = {
    "execution_date": ("logical_date", 0, ""),
    "next_ds": ("data_interval_end", 0, _DAY),
    "next_ds_nodash": ("data_interval_end", 0, _PLAIN),
    "next_execution_date": ("data_interval_end", 0, ""),
    "prev_ds": ("data_interval_start", 0, _DAY),
    "prev_ds_nodash": ("data_interval_start", 0, _PLAIN),
    "prev_execution_date": ("data_interval_start", 0, ""),
    "tomorrow_ds": ("logical_date", 1, _DAY),
    "tomorrow_ds_nodash": ("logical_date", 1, _PLAIN),
    "yesterday_ds": ("logical_date", -1, _DAY),
    "yesterday_ds_nodash": ("logical_date", -1, _PLAIN),
}
"""By name: the date that it comes from, the days between both, and its format, if it is a string.

The interval of a cron expression is empty in Airflow 3, so its end is not the next date.
"""


def with_old_dates(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context of Airflow 3 with the dates of Airflow 2; without those of a run without a date."""
    found = dict(context.items())
    for name, (source, days, pattern) in OLD_DATES.items():
        if (date := found.get(source)) is not None:
            moved = date + timedelta(days=days)
            found.setdefault(name, moved.strftime(pattern) if pattern else moved)
    return found
