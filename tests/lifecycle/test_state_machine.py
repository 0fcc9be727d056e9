"""Random histories of one step find no fault, and find a seeded one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagebridge_operators.lifecycle import advance
from sagebridge_operators.lifecycle.attempt import Attempt, Phase
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.lifecycle.state_machine import check


@pytest.mark.slow
def test_random_histories_have_no_fault() -> None:
    check(500, derandomize=True)


class RecordsAfterCreate(ExecutionRecords):
    """Records an attempt only once its job exists, so that a killed worker may leave a job."""

    def save(self, attempt: Attempt, *, over: Phase | None = None) -> Attempt:
        return attempt if attempt.phase == "planned" else super().save(attempt, over=over)


def test_record_after_create_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = advance.plan

    def seeded(attempt: Attempt, ports: advance.Ports) -> Attempt:
        return plan(attempt, replace(ports, records=RecordsAfterCreate(ports.records.objects)))

    monkeypatch.setattr(advance, "plan", seeded)
    with pytest.raises(AssertionError, match=r"nothing stops|lost in|two live jobs|does not end"):
        check(3000, shrink=False, derandomize=True)
