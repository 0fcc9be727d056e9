"""Steps with trigger rules: their states, when they start, and the status of the execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge_operators.lifecycle.attempt import State
from sagebridge_operators.lifecycle.step_states import startable, states, status
from tests.attempts import attempt_of

OK, BAD, SKIP, RUN = "Succeeded", "Failed", "Skipped", "Executing"


def step(name: str, *needs: str, **settings: Any) -> Step:
    return Step(name, "Lambda", depends_on=needs, engine=EngineSettings(**settings))


def recorded(records: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: attempt_of("e", name, "Lambda", cast("State", state))
        for name, state in records.items()
    }


def reached(steps: list[Step], records: Mapping[str, str]) -> str:
    found = states(Pipeline(steps=steps), recorded(records))
    return " ".join(f"{name}:{state}" for name, state in found.items() if name not in records)


def ended(steps: list[Step], records: Mapping[str, str]) -> str:
    return status(Pipeline(steps=steps), recorded(records)).status


@pytest.mark.parametrize(
    ("rule", "records", "expected"),
    [
        ("all_done", {"A": BAD, "B": OK}, "C:Pending D:Pending"),
        ("all_done", {"A": BAD, "B": RUN}, "C:Pending D:Pending"),
        ("one_failed", {"A": OK, "B": OK}, "C:Skipped D:Skipped"),
        ("none_failed", {"A": BAD, "B": OK}, "C:NotRun D:NotRun"),
        ("none_failed_min_one_success", {"A": SKIP, "B": OK}, "C:Pending D:Pending"),
        ("none_failed_min_one_success", {"A": SKIP, "B": SKIP}, "C:Skipped D:Skipped"),
        ("", {"A": SKIP, "B": BAD}, "C:NotRun D:NotRun"),
    ],
)
def test_rule_decides_the_state(rule: str, records: dict[str, str], expected: str) -> None:
    steps = [step("A"), step("B"), step("C", "A", "B", trigger_rule=rule), step("D", "C")]
    assert reached(steps, records) == expected


@pytest.mark.parametrize(
    ("rule", "records", "starts"),
    [
        ("one_success", {"A": OK, "B": RUN}, True),
        ("one_failed", {"A": BAD}, True),
        ("one_done", {"A": RUN}, False),
        ("all_done", {"A": OK, "B": RUN}, False),
        ("always", {}, True),
        ("", {"A": OK, "B": RUN}, False),
        ("", {"A": OK, "B": OK}, True),
    ],
)
def test_step_starts_as_soon_as_its_rule_allows(
    rule: str, records: dict[str, str], starts: bool
) -> None:
    steps = [step("A"), step("B"), step("C", "A", "B", trigger_rule=rule)]
    assert ("C" in startable(Pipeline(steps=steps), recorded(records))) is starts


def test_rule_holds_inside_a_taken_branch() -> None:
    inner = step("C", "A", trigger_rule="all_done")
    steps = [step("A"), ConditionStep("If", if_steps=[inner], else_steps=[])]
    assert reached(steps, {"A": BAD}) == "If:Pending C:Pending"
    pipeline = Pipeline(steps=steps)
    decided = attempt_of("e", "If", "Condition", "Failed")
    assert states(pipeline, {**recorded({"A": BAD}), "If": decided})["C"] == "NotRun"


SETUP = [
    step("Open", setup=True),
    step("Work", "Open"),
    step("More", "Work"),
    step("Close", "Open", "More", trigger_rule="all_done_setup_success"),
    step("After", "More"),
]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({"Open": OK, "Work": BAD}, "More:NotRun Close:Pending After:NotRun"),
        ({"Open": BAD}, "Work:NotRun More:NotRun Close:NotRun After:NotRun"),
        ({"Open": SKIP}, "Work:Skipped More:Skipped Close:Skipped After:Skipped"),
    ],
)
def test_teardown_runs_after_its_setup(records: dict[str, str], expected: str) -> None:
    assert reached(SETUP, records) == expected


def test_teardown_waits_for_everything_in_its_scope() -> None:
    steps = [
        step("Open", setup=True),
        step("Work", "Open"),
        step("Slow", "Open"),
        step("Last", "Slow"),
        step("Close", "Open", "Work", trigger_rule="all_done_setup_success"),
    ]
    records = {"Open": OK, "Work": OK, "Slow": RUN}
    assert "Close" in startable(Pipeline(steps=steps), recorded(records))
    steps[4] = step("Close", "Open", "Work", "Last", trigger_rule="all_done_setup_success")
    assert "Close" not in startable(Pipeline(steps=steps), recorded(records))


def test_indirect_setup_is_needed_whatever_the_rule() -> None:
    steps = [
        step("Open", setup=True),
        step("Work", "Open"),
        step("Always", "Work", trigger_rule="all_done"),
        step("Close", "Open", "Always", trigger_rule="all_done_setup_success"),
    ]
    assert reached(steps, {"Open": BAD}) == "Work:NotRun Always:NotRun Close:NotRun"
    assert reached(steps, {"Open": OK, "Work": BAD}) == "Always:Pending Close:Pending"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({"A": OK, "B": OK, "C": OK}, "Succeeded"),
        ({"A": BAD, "B": OK, "C": OK}, "Succeeded"),
        ({"A": OK, "B": OK, "C": BAD}, "Failed"),
        ({"A": BAD, "C": RUN}, "Executing"),
    ],
)
def test_last_steps_decide_the_status(records: dict[str, str], expected: str) -> None:
    steps = [step("A"), step("B"), step("C", "A", "B", trigger_rule="all_done")]
    assert ended(steps, records) == expected


def test_failed_last_step_fails_the_execution() -> None:
    steps = [step("A"), step("B", "A"), step("Alert", "A", trigger_rule="one_failed")]
    assert ended(steps, {"A": BAD, "Alert": OK}) == "Failed"
    assert ended(steps, {"A": OK, "B": OK}) == "Succeeded"


def test_teardown_does_not_decide_the_status() -> None:
    ran = {"Open": OK, "Work": OK, "More": OK, "After": OK}
    assert ended(SETUP, {**ran, "Close": BAD}) == "Succeeded"
    steps = [one for one in SETUP if one.name != "After"]
    assert ended(steps, {"Open": OK, "Work": OK, "More": BAD, "Close": OK}) == "Failed"
