"""Durations as ``CacheConfig.ExpireAfter`` has them: ISO 8601, and the loose forms in real use."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(
    r"""P?(?=[0-9T])
        (?:(?P<years>[0-9]+)Y)? (?:(?P<months>[0-9]+)M)?
        (?:(?P<weeks>[0-9]+)W)? (?:(?P<days>[0-9]+)D)?
        (?:T(?=[0-9]) (?:(?P<hours>[0-9]+)H)? (?:(?P<minutes>[0-9]+)M)?
            (?:(?P<seconds>[0-9]+(?:\.[0-9]+)?)S)? )?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def parse_duration(text: str) -> timedelta | None:
    """``PT1H``, ``30d``, ``T12H`` or ``p30dT5h``; None for anything else.

    A month counts 30 days and a year 365.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    try:
        part = {name: float(value or 0) for name, value in match.groupdict().items()}
        return timedelta(
            days=part["days"] + 30 * part["months"] + 365 * part["years"],
            weeks=part["weeks"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        )
    except OverflowError:
        return None
