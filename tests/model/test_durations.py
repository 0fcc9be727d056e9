"""Durations in ISO 8601, and in the looser forms of real definitions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge.model.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("p30d", timedelta(days=30)),
        ("T12H", timedelta(hours=12)),
        ("T16m", timedelta(minutes=16)),
        ("PT30M", timedelta(minutes=30)),
        ("P1M", timedelta(days=30)),
        ("30dT5h", timedelta(days=30, hours=5)),
        ("P1Y2M3W4DT5H6M7.5S", timedelta(days=365 + 60 + 21 + 4, hours=5, minutes=6, seconds=7.5)),
        ("PT0S", timedelta()),
        ("PT0.5H", timedelta(minutes=30)),
        ("P1,5D", timedelta(days=1, hours=12)),
    ],
)
def test_duration_is_parsed(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "P", "T", "PT", "1", "1h", "d1", "-1d", "1D ", "1d1d", "P1DT", "P0.5DT1H", "P.5D"]
)
def test_invalid_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.text(alphabet="PpTtDdHhMmSsWwYy0123456789. "))
def test_parsing_never_raises(text: str) -> None:
    duration = parse_duration(text)
    assert duration is None or duration >= timedelta()


def test_duration_beyond_timedelta_is_none() -> None:
    assert parse_duration("9" * 400 + "d") is None
