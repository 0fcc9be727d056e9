"""Slots at changes of clocks."""

from __future__ import annotations

import pytest

from sagebridge.authoring.clock_changes import clock_change_slot, skipped_slots
from sagebridge.model.schedule_expressions import Cron, parse_expression


@pytest.mark.parametrize(
    ("expression", "zone", "slot", "minutes"),
    [
        ("cron(30 2 * * ? *)", "America/New_York", "2020-03-08T02:30:00", 60),
        ("cron(30 1 * * ? *)", "America/New_York", None, 0),
        ("cron(0 3 * * ? *)", "America/New_York", None, 0),
        ("cron(0 2 * * ? *)", "Europe/Berlin", "2020-03-29T02:00:00", 60),
        ("cron(0 2 15 * ? *)", "Europe/Berlin", None, 0),
        ("cron(15 2 * * ? *)", "Australia/Lord_Howe", "2020-10-04T02:15:00", 30),
        ("cron(30 2 * * ? 2019)", "America/New_York", None, 0),
        ("cron(* * * * ? *)", "Asia/Kolkata", None, 0),
    ],
)
def test_first_skipped_slot(expression: str, zone: str, slot: str | None, minutes: int) -> None:
    cron = parse_expression(expression)
    assert isinstance(cron, Cron)
    found = next(skipped_slots(cron, zone), None)
    if found is None:
        assert slot is None
    else:
        local, length = found
        assert (local.isoformat(), length.total_seconds() / 60) == (slot, minutes)


@pytest.mark.parametrize(
    ("expression", "zone", "slot"),
    [
        ("cron(30 1 * 11 ? *)", "America/New_York", "2020-11-01T01:30:00"),
        ("cron(0 2 * 11 ? *)", "America/New_York", None),
        ("cron(0 2 * * ? *)", "Europe/Berlin", "2020-03-29T02:00:00"),
        ("cron(45 1 * * ? *)", "Australia/Lord_Howe", "2020-04-05T01:45:00"),
        ("cron(15 1 * * ? *)", "Australia/Lord_Howe", None),
    ],
)
def test_first_slot_at_a_change_of_clocks(expression: str, zone: str, slot: str | None) -> None:
    cron = parse_expression(expression)
    assert isinstance(cron, Cron)
    found = clock_change_slot(cron, zone)
    assert (found and found.isoformat()) == slot
