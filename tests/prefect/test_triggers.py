"""Dependencies with triggers in flow runs."""

from __future__ import annotations

import pytest

from tests.fakes import FakeSageMaker
from tests.prefect.conftest import Run
from tests.trigger_cases import CASES, TriggerCase

pytestmark = pytest.mark.prefect
FLOW_RUNS = {
    "Succeeded": "Completed",
    "Failed": "Failed",
    "CompletedWithFailures": "CompletedWithFailures",
    "Stopped": "Stopped",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps_run_by_their_triggers(case: TriggerCase, run: Run, aws: FakeSageMaker) -> None:
    aws.plans |= case.plans
    ran = run(*case.steps)
    end = ran.records.end(ran.id) or {}

    assert end["status"] == case.status
    names = {"Succeeded": "Completed"}
    assert ran.states == {name: names.get(one, one) for name, one in case.expected.items()}
    assert ran.state.name == FLOW_RUNS[case.status]
    assert ran.state.is_failed() == (case.status in ("Failed", "CompletedWithFailures"))
