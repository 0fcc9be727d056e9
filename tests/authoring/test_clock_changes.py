"""Slots at changes of clocks."""

from __future__ import annotations

import pytest

from sagebridge.authoring.clock_changes import clock_change_slot
from sagebridge.model.schedule_expressions import Cron, parse_expression


@pytest.mark.parametrize(
    ("expression", "zone", "slot"),
    [
        ("cron(30 2 * * ? *)", "America/New_York", "2020-03-08T02:30:00"),
        ("cron(30 1 * * ? *)", "America/New_York", "2020-11-01T01:30:00"),
        ("cron(0 3 * * ? *)", "America/New_York", None),
        ("cron(59 0 * * ? *)", "America/New_York", None),
        ("cron(0 2 * * ? *)", "Europe/Berlin", "2020-03-29T02:00:00"),
        ("cron(0 3 * * ? *)", "Europe/Berlin", None),
        ("cron(0 2 15 * ? *)", "Europe/Berlin", None),
        ("cron(45 1 * * ? *)", "Australia/Lord_Howe", "2020-04-05T01:45:00"),
        ("cron(15 1 * * ? *)", "Australia/Lord_Howe", None),
        ("cron(30 1 * * ? 2019)", "America/New_York", None),
        ("cron(* * * * ? *)", "Asia/Kolkata", None),
    ],
)
def test_slot_at_a_change_of_clocks_is_found(expression: str, zone: str, slot: str | None) -> None:
    cron = parse_expression(expression)
    assert isinstance(cron, Cron)
    found = clock_change_slot(cron, zone)
    assert (found and found.isoformat()) == slot
