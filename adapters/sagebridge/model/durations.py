"""Durations of ``CacheConfig.ExpireAfter``: ISO 8601, and looser forms found in real use."""

from __future__ import annotations

import re
from datetime import timedelta

_NUMBER = r"[0-9]+(?:[.,][0-9]+(?=[A-Z]\Z))?"
"""In ISO 8601 only the last number of a duration can have a fraction."""
_DURATION = re.compile(
    rf"""P?(?=[0-9T])
        (?:(?P<years>{_NUMBER})Y)? (?:(?P<months>{_NUMBER})M)?
        (?:(?P<weeks>{_NUMBER})W)? (?:(?P<days>{_NUMBER})D)?
        (?:T(?=[0-9]) (?:(?P<hours>{_NUMBER})H)? (?:(?P<minutes>{_NUMBER})M)?
            (?:(?P<seconds>{_NUMBER})S)? )?""",
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
        written = match.groupdict(default="0").items()
        part = {name: float(number.replace(",", ".")) for name, number in written}
        return timedelta(
            days=part["days"] + 30 * part["months"] + 365 * part["years"],
            weeks=part["weeks"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        )
    except OverflowError:
        return None
