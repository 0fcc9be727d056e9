"""Functions of ``airflow.utils.dates`` that Airflow 3 does not have."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pendulum


def days_ago(n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> Any:
    """The start of the day, ``n`` days ago, as ``airflow.utils.dates.days_ago`` of Airflow 2."""
    today: datetime = pendulum.today("UTC").add(days=-n)
    return today.replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
