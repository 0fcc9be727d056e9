"""Drawn cron expressions of Airflow, whose slots are those of croniter."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sagebridge.formats.airflow.periods import NoSchedule, cron_expression
from sagebridge.model.fire_times import fire_times
from sagebridge.model.schedules import Schedule

pytestmark = pytest.mark.airflow
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
START = datetime(2027, 3, 1, tzinfo=UTC)


def field(low: int, high: int, *others: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A field; ``others`` are its names."""
    value = st.one_of(st.integers(low, high).map(str), *others)
    step = st.integers(1, high).map(str)
    forms = {"{}": (value,), "{}-{}": (value, value), "*/{}": (step,), "{}/{}": (value, step)}
    items = [st.builds(form.format, *parts) for form, parts in forms.items()]
    items.append(st.builds("{}-{}/{}".format, value, value, step))
    return st.just("*") | st.lists(st.one_of(items), min_size=1, max_size=3).map(",".join)


CRONS = st.builds(
    "{} {} {} {} {}".format,
    field(0, 59),
    field(0, 23),
    field(1, 31) | st.sampled_from(["L", "?", "1W", "W15", "28W", "20-L"]),
    field(1, 12, st.sampled_from(MONTHS)),
    field(0, 7, st.sampled_from(DAYS)) | st.sampled_from(["L5", "L0", "FRI#1", "2#5", "?"]),
)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(CRONS)
def test_cron_expression_keeps_its_slots(text: str) -> None:
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]

    try:
        cron = croniter(text, START.replace(tzinfo=None), ret_type=datetime)
        expected = list(islice(cron, 20))
    except (CroniterError, ValueError):  # no expression, or no such date
        assume(False)
    try:
        expression = cron_expression(text)
    except NoSchedule:
        assert ("W" in text and "#" in text) or "L" in text  # days that EventBridge has otherwise
        return
    found = islice(fire_times(Schedule("x", expression), START), 20)
    assert [one.naive() for one in found] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0 4 * * * 30", "has seconds; a schedule has a precision of a minute"),
        ("0 4 1 * MON 0 2027", "limits years and both kinds of days"),
        ("0 4 31W * *", "has other days in EventBridge"),
        ("61 4 * * *", "out of range"),
        ("0 4 * *", "Exactly 5, 6 or 7 columns"),
    ],
)
def test_unusable_cron_expression_is_explained(text: str, problem: str) -> None:
    with pytest.raises(NoSchedule, match=problem):
        cron_expression(text)


def test_year_of_the_seventh_field_is_kept() -> None:
    assert cron_expression("0 4 1 1 * 0 2027") == "cron(0 4 1 1 ? 2027)"
