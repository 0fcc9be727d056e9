"""The states of all steps, derived from the records of those that started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

import sagebridge
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.attempt import State as RecordedState
from sagebridge_operators.lifecycle.step_states import Status, states, status
from tests.attempts import attempt_of
from tests.definition import gate, get, step

# Gate's branches are A -> B and X. T depends on B, F on Gate itself, O on nothing.
BRANCHES = [
    step("P"),
    gate(
        name="Gate",
        then=[step("A", DependsOn=["P"]), step("B", DependsOn=["A"])],
        other=[step("X")],
    ),
    step("T", DependsOn=["B"]),
    step("F", DependsOn=["Gate"]),
    step("O"),
]


def pipeline(*steps: dict[str, Any]) -> Pipeline:
    return sagebridge.read({"Version": "2020-12-01", "Steps": list(steps)}).pipeline


def record(name: str, text: str) -> Attempt:
    """``Succeeded``, ``Failed``, …; ``true`` or ``false`` for a condition that succeeded."""
    if text in ("true", "false"):
        outputs = {"outcome": text == "true"}
        return attempt_of("e", name, "Condition", "Succeeded", outputs=outputs)
    return attempt_of("e", name, "Lambda", cast("RecordedState", text))


def state_line(reached: Mapping[str, str]) -> str:
    """States as a string: ``A:Succeeded B:Pending``."""
    return " ".join(f"{name}:{state}" for name, state in reached.items())


def reached(steps: list[dict[str, Any]], records: Mapping[str, str], **more: Any) -> str:
    written = {name: record(name, text) for name, text in records.items()}
    found = states(pipeline(*steps), written, **more)
    return state_line({name: state for name, state in found.items() if name not in records})


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({}, "P:Pending Gate:Pending A:Pending B:Pending X:Pending T:Pending F:Pending O:Pending"),
        ({"Gate": "true", "P": "Succeeded", "A": "Executing"}, "B X:Skipped T F O"),
        ({"Gate": "false", "P": "Succeeded"}, "A:Skipped B:Skipped X T:Skipped F O"),
        ({"Gate": "Failed"}, "P A:NotRun B:NotRun X:NotRun T:NotRun F:NotRun O"),
        ({"Gate": "Stopped"}, "P A:NotRun B:NotRun X:NotRun T:NotRun F:NotRun O"),
        ({"Gate": "true", "P": "Failed"}, "A:NotRun B:NotRun X:Skipped T:NotRun F O"),
        # A step in the branch not taken is skipped even if another dependency failed.
        ({"Gate": "false", "P": "Failed"}, "A:Skipped B:Skipped X T:Skipped F O"),
        ({"Gate": "true", "P": "Succeeded", "A": "Stopping"}, "B X:Skipped T F O"),
    ],
)
def test_states_of_branch_steps(records: dict[str, str], expected: str) -> None:
    whole = " ".join(word if ":" in word else f"{word}:Pending" for word in expected.split())

    assert reached(BRANCHES, records) == whole


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("Succeeded", "Succeeded", "Pending"),
        ("Succeeded", "Executing", "Pending"),
        ("Succeeded", "Failed", "NotRun"),
        ("Stopped", "Executing", "NotRun"),
    ],
)
def test_state_with_two_dependencies(first: str, second: str, expected: str) -> None:
    steps = [step("A"), step("B"), step("C", DependsOn=["A", "B"])]

    assert reached(steps, {"A": first, "B": second}) == f"C:{expected}"


# What becomes of a step after one upstream step, by trigger and by the state of that step.
AFTER = {
    "Completed": {"Succeeded": "Pending", "Failed": "NotRun", "Stopped": "NotRun"},
    "Failed": {"Succeeded": "Skipped", "Failed": "Pending", "Stopped": "Skipped"},
    "Stopped": {"Succeeded": "Skipped", "Failed": "Skipped", "Stopped": "Pending"},
    "Any": {"Succeeded": "Pending", "Failed": "Pending", "Stopped": "Pending"},
}
NOT_STARTED = {
    "Completed": {"Skipped": "Skipped", "NotRun": "NotRun"},
    "Failed": {"Skipped": "Skipped", "NotRun": "Pending"},
    "Stopped": {"Skipped": "Skipped", "NotRun": "Skipped"},
    "Any": {"Skipped": "Pending", "NotRun": "Pending"},
}


def on(name: str, trigger: str) -> Any:
    return {"Step": name, "Trigger": trigger}


@pytest.mark.parametrize("trigger", AFTER)
def test_state_after_each_outcome(trigger: str) -> None:
    steps = [step("A"), step("B", DependsOn=[on("A", trigger)])]

    for state, expected in AFTER[trigger].items():
        assert reached(steps, {"A": state}) == f"B:{expected}"
    for state in ("Executing", "Stopping"):
        assert reached(steps, {"A": state}) == "B:Pending"


@pytest.mark.parametrize("trigger", NOT_STARTED)
def test_state_after_a_step_that_did_not_start(trigger: str) -> None:
    last = step("C", DependsOn=[on("B", trigger)])
    not_run = [step("A"), step("B", DependsOn=["A"]), last]
    skipped = [gate(then=[step("B")]), last]

    assert reached(not_run, {"A": "Failed"}) == f"B:NotRun C:{NOT_STARTED[trigger]['NotRun']}"
    assert reached(skipped, {"Gate": "false"}) == f"B:Skipped C:{NOT_STARTED[trigger]['Skipped']}"


def test_all_entries_must_hold() -> None:
    steps = [step("A"), step("B"), step("C", DependsOn=["A", on("B", "Failed")])]

    assert reached(steps, {"A": "Succeeded", "B": "Failed"}) == "C:Pending"
    assert reached(steps, {"A": "Succeeded", "B": "Succeeded"}) == "C:Skipped"
    assert reached(steps, {"A": "Failed", "B": "Failed"}) == "C:NotRun"
    assert reached(steps, {"A": "Failed", "B": "Succeeded"}) == "C:NotRun"
    both = [*steps[:2], step("C", DependsOn=[on("A", "Any"), on("B", "Failed")])]
    assert reached(both, {"A": "Failed", "B": "Succeeded"}) == "C:Skipped"


def test_a_reference_needs_success() -> None:
    uses = step(
        "B", DependsOn=[on("A", "Any")], Arguments={"x": get("Steps.A.OutputParameters['o']")}
    )

    assert reached([step("A"), uses], {"A": "Failed"}) == "B:NotRun"


def test_a_trigger_in_a_branch_not_taken_is_skipped() -> None:
    steps = [step("A"), gate(then=[step("B", DependsOn=[on("A", "Any")])])]

    assert reached(steps, {"A": "Failed", "Gate": "false"}) == "B:Skipped"
    assert reached(steps, {"A": "Failed", "Gate": "true"}) == "B:Pending"
    assert reached(steps, {"A": "Failed", "Gate": "Failed"}) == "B:NotRun"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({"A": "Failed", "H": "Succeeded"}, "CompletedWithFailures"),
        ({"A": "Failed", "H": "Failed"}, "CompletedWithFailures"),
        ({"A": "Succeeded", "B": "Failed"}, "Failed"),
        ({"A": "Succeeded", "B": "Succeeded"}, "Succeeded"),
        ({"A": "Failed"}, "Executing"),
    ],
)
def test_status_after_a_handled_failure(records: dict[str, str], expected: str) -> None:
    handler = step("H", DependsOn=[on("A", "Failed")])
    steps = pipeline(step("A"), step("B", DependsOn=["A"]), handler)
    written = {name: record(name, text) for name, text in records.items()}

    assert status(steps, written).status == expected


def test_a_step_after_one_that_did_not_run_handles_its_failure() -> None:
    steps = pipeline(step("A"), step("B", DependsOn=["A"]), step("Z", DependsOn=[on("B", "Any")]))
    written = {"A": failed("A", "boom", "2026-11-21"), "Z": record("Z", "Succeeded")}

    assert status(steps, written) == Status("CompletedWithFailures", "step 'A' failed: boom")


def test_a_fail_step_ends_the_execution_as_failed() -> None:
    last = step("Z", DependsOn=[on("A", "Any")])
    steps = pipeline(step("A"), step("No", "Fail", DependsOn=[on("A", "Failed")]), last)
    records = {
        "A": failed("A", "boom", "2026-11-21"),
        "No": failed("No", "enough", "2026-11-22", "Fail"),
        "Z": record("Z", "Succeeded"),
    }

    assert status(steps, records) == Status("Failed", "enough")


def test_stopped_step_does_not_count_as_failed() -> None:
    steps = pipeline(step("A"), step("Z", DependsOn=[on("A", "Any")]))

    assert status(steps, {"A": record("A", "Stopped"), "Z": record("Z", "Succeeded")}).status == (
        "Stopped"
    )


def test_failed_dependency_outweighs_skipped() -> None:
    steps = [gate(then=[step("A")]), step("B"), step("C", DependsOn=["A", "B"])]

    assert reached(steps, {"Gate": "false", "B": "Failed"}) == "A:Skipped C:NotRun"
    assert reached(steps, {"Gate": "false", "B": "Executing"}) == "A:Skipped C:Skipped"


def test_states_of_nested_conditions() -> None:
    inner = gate(name="Inner", then=[step("A")], other=[step("B")])
    steps = [gate(name="Outer", then=[inner], other=[step("C")]), step("D", DependsOn=["A"])]

    assert reached(steps, {"Outer": "false"}) == (
        "Inner:Skipped A:Skipped B:Skipped C:Pending D:Skipped"
    )
    assert (
        reached(steps, {"Outer": "true"}) == "Inner:Pending A:Pending B:Pending C:Skipped D:Pending"
    )
    assert reached(steps, {"Outer": "true", "Inner": "false"}) == (
        "A:Skipped B:Pending C:Skipped D:Skipped"
    )
    assert reached(steps, {"Outer": "true", "Inner": "Failed"}) == (
        "A:NotRun B:NotRun C:Skipped D:NotRun"
    )


def test_condition_depends_on_compared_steps() -> None:
    steps = [step("A"), gate({"Type": "Equals", "LeftValue": get("Steps.A.OutputParameters['o']"),
                              "RightValue": "1"}, then=[step("B")])]  # fmt: skip

    assert reached(steps, {"A": "Failed"}) == "Gate:NotRun B:NotRun"


def test_nothing_is_pending_after_the_end() -> None:
    end = {"status": "Stopped", "reason": "stopped by SIGINT"}

    assert reached([step("A"), step("B")], {"A": "Succeeded"}, end=end) == "B:NotRun"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({}, "Executing"),
        ({"A": "Succeeded", "B": "Executing"}, "Executing"),
        ({"A": "Succeeded", "B": "Stopping"}, "Executing"),
        ({"A": "Failed", "B": "Executing"}, "Executing"),
        ({"A": "Succeeded", "B": "Succeeded", "C": "Succeeded"}, "Succeeded"),
        ({"A": "Failed", "B": "Stopped"}, "Failed"),
        ({"A": "Succeeded", "B": "Stopped"}, "Stopped"),
    ],
)
def test_execution_status(records: dict[str, str], expected: str) -> None:
    steps = pipeline(step("A"), step("B"), step("C", DependsOn=["A", "B"]))
    written = {name: record(name, text) for name, text in records.items()}

    assert status(steps, written).status == expected


def test_branch_not_taken_is_a_success() -> None:
    steps = pipeline(gate(then=[step("A")]))

    assert status(steps, {"Gate": record("Gate", "false")}) == Status("Succeeded")


def failed(name: str, reason: str, ended: str, type_: str = "Lambda") -> Attempt:
    return attempt_of("e", name, type_, "Failed", reason=reason, ended=ended)


def test_reason_is_the_fail_step_message() -> None:
    steps = pipeline(step("A"), step("No", "Fail"))
    first = failed("A", "boom", "2026-11-21T05:00:00")
    records = {"A": first, "No": failed("No", "MSE > 1.0", "2026-11-22", "Fail")}

    assert status(steps, records) == Status("Failed", "MSE > 1.0")
    alone = pipeline(step("A"), step("No", "Fail", DependsOn=["A"]))
    assert status(alone, {"A": first}) == Status("Failed", "step 'A' failed: boom")


def test_reason_is_the_first_failure() -> None:
    steps = pipeline(step("A"), step("B"))
    records = {
        "A": failed("A", "late", "2026-11-21T05:00:02"),
        "B": failed("B", "early", "2026-11-21T05:00:01"),
    }

    assert status(steps, records).reason == "step 'B' failed: early"


def test_recorded_end_is_the_status() -> None:
    end = {"status": "Stopped", "reason": "stopped by SIGINT", "ended": "2026-11-21"}

    assert status(pipeline(step("A")), {}, end) == Status("Stopped", "stopped by SIGINT")
