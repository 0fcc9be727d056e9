"""Times that Prefect computes, in ``sagebridge schedule next``."""

from __future__ import annotations

import pytest

import sagebridge
from sagebridge import Pipeline, Schedule
from sagebridge.cli import main

pytestmark = pytest.mark.prefect


def test_inexact_schedule_has_the_times_of_prefect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "rrule(FREQ=DAILY;BYHOUR=4;BYMINUTE=0;BYSECOND=0)"
    schedule = Schedule("one", rule, start="2027-01-02T00:00:00Z")
    reading = sagebridge.Reading(Pipeline("nightly", schedules=[schedule]), ())
    monkeypatch.setattr(sagebridge, "read", lambda *given, **keywords: reading)
    assert main(["schedule", "next", "p", "--between", "2027-01-01", "2027-01-03"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "!  -          -                     2027-01-01 04:00 UTC",
        "!  -          2027-01-02 04:00 UTC  2027-01-02 04:00 UTC",
        "  SageMaker: EventBridge cannot express it",
        "  Prefect: does not have the start of the schedule",
    ]
