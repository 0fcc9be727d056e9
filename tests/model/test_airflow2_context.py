"""Dates of Airflow 2 in the context of carried code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sagebridge.model.airflow2_context import OLD_DATES, with_old_dates

DATE = datetime(2026, 3, 1, 4, tzinfo=UTC)
END = datetime(2026, 3, 2, 4, tzinfo=UTC)


def test_context_has_the_dates_of_airflow_2() -> None:
    given = {"logical_date": DATE, "data_interval_start": DATE, "data_interval_end": END, "ds": "x"}
    found = with_old_dates(given)

    assert found.keys() == given.keys() | OLD_DATES.keys()
    assert found["execution_date"] == DATE
    assert (found["yesterday_ds"], found["tomorrow_ds_nodash"]) == ("2026-02-28", "20260302")
    assert (found["next_execution_date"], found["next_ds"]) == (END, "2026-03-02")
    assert found["ds"] == "x"


def test_run_without_a_date_and_airflow_2_keep_what_they_have() -> None:
    given: dict[str, Any] = {"logical_date": None, "data_interval_start": DATE, "next_ds": "own"}
    found = with_old_dates(given)

    assert "execution_date" not in found
    assert (found["next_ds"], found["prev_ds"]) == ("own", "2026-03-01")
