"""Random histories of one step find no fault, and find a seeded one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sagebridge_operators.lifecycle import advance
from sagebridge_operators.lifecycle.attempt import Attempt, Phase
from sagebridge_operators.lifecycle.ports import Ports
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.lifecycle.state_machine import StepHistory, check


@pytest.mark.slow
def test_random_histories_have_no_fault() -> None:
    check(500, derandomize=True)


def share_an_attempt(step: StepHistory) -> None:
    """A worker reads no record, while another one of the same attempt writes it."""
    step.begin(policies=False, lag=0)
    step.start_worker()
    step.run_worker(which=1, steps=2)
    step.run_worker(which=0, steps=10)
    step.end_job(which=0, end="Completed")


def reject_a_repeated_request(step: StepHistory) -> None:
    """The job of a request whose answer was lost uses up the limit, and is not described yet."""
    step.begin(policies=False, lag=20)
    step.run_worker(which=0, steps=9)
    for _ in range(3):
        step.clear()
    step.fail_next_create(fault="unanswered")
    step.run_worker(which=2, steps=17)
    step.fail_next_create(fault="limit")
    for _ in range(2):
        step.kill_worker(which=0)
    step.run_worker(which=0, steps=7)
    step.run_worker(which=0, steps=11)


@pytest.mark.parametrize("history", [share_an_attempt, reject_a_repeated_request])
def test_histories_that_once_had_a_fault(history: Callable[[StepHistory], None]) -> None:
    step = StepHistory()
    history(step)
    step.teardown()


class RecordsAfterCreate(ExecutionRecords):
    """Records an attempt only once its job exists, so that a killed worker may leave a job."""

    def save(self, attempt: Attempt, *, over: Phase | None = None) -> Attempt:
        return attempt if attempt.phase == "planned" else super().save(attempt, over=over)


def test_record_after_create_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = advance.plan

    def seeded(attempt: Attempt, ports: Ports) -> Attempt:
        return plan(attempt, replace(ports, records=RecordsAfterCreate(ports.records.objects)))

    monkeypatch.setattr(advance, "plan", seeded)
    with pytest.raises(AssertionError, match=r"nothing stops|lost in|two live jobs|does not end"):
        check(3000, shrink=False, derandomize=True)
