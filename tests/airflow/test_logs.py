"""What a task's log, its XComs and its rendered view show to the person on call."""

from __future__ import annotations

from typing import Any

import pytest

from sagebridge.model.conditions import equals, greater_than, not_
from sagebridge.model.expressions import parameter
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep
from tests.airflow.conftest import Run
from tests.fakes import FakeSageMaker
from tests.shapes import fail, model

pytestmark = pytest.mark.airflow
LIMIT = Parameter("Limit", "Float", 6.0)


@pytest.mark.airflow31
def test_condition_shows_values_sources_and_skipped_steps(
    run: Run, aws: FakeSageMaker, capfd: Any
) -> None:
    check = ConditionStep(
        "Check",
        "Condition",
        conditions=(not_(greater_than(parameter("Limit"), 5)), equals("a", "a")),
        if_steps=(model("Use"),),
        else_steps=(model("Other"),),
    )
    played = run(
        check, model("Last", "Use"), fail("End", depends_on=("Check",)), parameters=(LIMIT,)
    )
    left = {"value": 6.0, "source": "parameter Limit"}
    inner = {"type": "GreaterThan", "left": left, "right": {"value": 5}, "holds": True}
    report = {
        "outcome": False,
        "conditions": [
            {"type": "Not", "conditions": [inner], "holds": False},
            {"type": "Equals", "left": {"value": "a"}, "right": {"value": "a"}, "holds": True},
        ],
        "runs": ["Other"],
        "skipped": ["Use", "Last"],
    }
    assert played.states == {
        "Check": "success",
        "Use": "skipped",
        "Last": "skipped",
        "Other": "success",
        "End": "failed",
    }
    assert played.xcom("Check") == report
    assert played.rendered("Check") == {"request": report}
    assert (
        "condition Check: False\n"
        "  [False] not\n"
        "    [True] 6.0 (parameter Limit) > 5\n"
        "  [True] 'a' == 'a'\n"
        "  runs (else branch): Other\n"
        "  skipped: Use, Last"
    ) in capfd.readouterr().out
