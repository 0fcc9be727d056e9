"""The times at which Prefect's own code fires a schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebridge.errors import MissingExtra

_INTERVAL = "interval"


def engine_times(
    fields: Mapping[str, Any], after: datetime, until: datetime | None, number: int
) -> list[datetime]:
    """At most ``number`` times after an instant, up to ``until``, in UTC.

    ``fields`` are the schedule's keys in ``prefect.yaml``. Raises MissingExtra.
    """
    try:
        from prefect.server.schemas import schedules
    except ImportError as error:
        raise MissingExtra("computing Prefect's times", "prefect") from error
    kinds: Mapping[str, Any] = {
        "cron": schedules.CronSchedule,
        _INTERVAL: schedules.IntervalSchedule,
        "rrule": schedules.RRuleSchedule,
    }
    values = dict(fields)
    if _INTERVAL in values:
        values[_INTERVAL] = timedelta(seconds=values[_INTERVAL])
    kind = next(kinds[name] for name in kinds if name in values)
    # The first may be ``after`` itself. get_dates checks at most 1,000 candidates (MAX_ITERATIONS).
    found = asyncio.run(kind(**values).get_dates(n=number + 1, start=after, end=until))
    return [one for each in found if (one := each.astimezone(UTC)) > after][:number]
