"""Which task runs of a flow run run, are skipped and fail."""

from __future__ import annotations

import pytest

from sagebridge.model.conditions import Condition, equals, greater_than
from sagebridge.model.expressions import join, parameter, properties_of
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Step
from tests.attempts import outputs_of
from tests.fakes import FakeSageMaker, Plan
from tests.prefect.conftest import Run
from tests.shapes import FALSE, TRUE, branch, fail, model, training

pytestmark = pytest.mark.prefect

DONE, SKIPPED, FAILED, NEVER = "Completed", "Skipped", "Failed", "NotRun"


@pytest.mark.parametrize("taken", [True, False])
def test_one_branch_runs_and_the_other_is_skipped(taken: bool, run: Run) -> None:
    played = run(
        model("Before"),
        branch(
            "Check",
            greater_than(properties_of("Before").ModelName, "" if taken else "q"),
            model("Yes"),
            model("AfterYes", "Yes"),
            otherwise=(model("No"), model("AfterNo", "No")),
        ),
    )
    yes, no = (DONE, SKIPPED) if taken else (SKIPPED, DONE)
    assert played.states == {
        "Before": DONE,
        "Check": DONE,
        "Yes": yes,
        "AfterYes": yes,
        "No": no,
        "AfterNo": no,
    }
    assert played.state.is_completed()
    assert outputs_of(played.steps["Check"])["outcome"] is taken


def test_downstream_of_branch_not_taken_is_skipped(run: Run) -> None:
    played = run(
        model("Free"),
        branch("Check", FALSE, model("Yes"), otherwise=(model("No"),)),
        model("NeedsYes", "Yes"),
        model("NeedsBoth", "Yes", "No"),
        model("NeedsNo", "No"),
        model("AfterYes", after=("Yes", "Free")),
        model("Further", after=("NeedsYes",)),
    )
    done = {name for name, state in played.states.items() if state == DONE}
    assert done == {"Free", "Check", "No", "NeedsNo"}
    assert set(played.states.values()) == {DONE, SKIPPED}
    assert played.state.is_completed()


@pytest.mark.parametrize("condition", [TRUE, FALSE])
def test_dependant_of_condition_runs_after_either_outcome(condition: Condition, run: Run) -> None:
    played = run(
        branch("Check", condition, model("Yes"), otherwise=(model("No"),)),
        model("After", after=("Check",)),
    )
    assert played.states["After"] == DONE
    assert {played.states["Yes"], played.states["No"]} == {DONE, SKIPPED}


def test_false_condition_without_else_succeeds(run: Run) -> None:
    played = run(branch("Check", FALSE, model("Yes")), model("After", after=("Check",)))
    assert played.states == {"Check": DONE, "Yes": SKIPPED, "After": DONE}
    assert played.state.is_completed()


@pytest.mark.parametrize(
    ("outer", "inner", "ran"),
    [
        (TRUE, TRUE, {"A", "Inner", "B", "AfterInner", "AfterB"}),
        (TRUE, FALSE, {"A", "Inner", "C", "AfterInner"}),
        (FALSE, TRUE, {"D"}),
    ],
)
def test_nested_conditions(outer: Condition, inner: Condition, ran: set[str], run: Run) -> None:
    nested = branch("Inner", inner, model("B"), otherwise=(model("C"),), after=("A",))
    played = run(
        branch("Outer", outer, model("A"), nested, otherwise=(model("D"),)),
        model("AfterInner", after=("Inner",)),
        model("AfterB", "B"),
    )
    done = {name for name, state in played.states.items() if state == DONE}
    assert done == {*ran, "Outer"}
    assert set(played.states.values()) <= {DONE, SKIPPED}
    assert played.state.is_completed()


def test_mixed_outcomes_give_definite_states(run: Run, aws: FakeSageMaker) -> None:
    aws.plans["Bad"] = Plan(("InProgress", "Failed"), ending={"FailureReason": "AlgorithmError: x"})
    inner = branch("Inner", FALSE, model("B"), otherwise=(model("C"),))
    played = run(
        training("Bad"),
        model("NeedsBad", after=("Bad",)),
        branch("Blocked", TRUE, model("Inside"), after=("NeedsBad",)),
        branch("Outer", TRUE, inner, otherwise=(model("D"),)),
        model("AfterB", "B"),
        model("AfterBoth", after=("B", "Bad")),
        model("Free"),
        model("NeedsFree", "Free"),
    )
    assert played.states == {
        "Bad": FAILED,
        "NeedsBad": NEVER,
        "Blocked": NEVER,
        "Inside": NEVER,
        "Outer": DONE,
        "Inner": DONE,
        "B": SKIPPED,
        "C": DONE,
        "D": SKIPPED,
        "AfterB": SKIPPED,
        "AfterBoth": NEVER,
        "Free": DONE,
        "NeedsFree": DONE,
    }
    assert played.state.is_failed()
    assert played.state.message.startswith("step 'Bad' failed: ")
    assert played.messages["Bad"].endswith("Failed: AlgorithmError: x")
    assert len(aws.called("create_training_job")) == 1, "a failed step is not retried"
    assert played.records.end(played.id)["status"] == "Failed"  # type: ignore[index]


def test_fail_step_message_is_the_flow_run_message(run: Run) -> None:
    played = run(
        model("Before"),
        branch(
            "Check",
            FALSE,
            model("Yes"),
            otherwise=(fail("Stop", join(" ", "MSE >", parameter("Threshold"))),),
        ),
        model("Aside"),
        parameters=(Parameter("Threshold", "Float", 1.0),),
    )
    assert played.states == {
        "Before": DONE,
        "Check": DONE,
        "Yes": SKIPPED,
        "Stop": FAILED,
        "Aside": DONE,
    }
    assert played.run.state.name == "Failed"
    assert played.run.state.message == "MSE > 1.0"
    assert played.messages["Stop"] == "MSE > 1.0"
    assert played.steps["Stop"].reason == "MSE > 1.0"


def test_condition_with_incomparable_values_fails(run: Run) -> None:
    played = run(
        branch("Check", equals("1", 1), model("Yes"), otherwise=(model("No"),)),
        model("After", after=("Check",)),
    )
    assert played.states == {"Check": FAILED, "Yes": NEVER, "No": NEVER, "After": NEVER}
    assert "'1' (String) with 1 (Integer)" in played.messages["Check"]


def test_stopped_job_fails_the_flow_run(run: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress", "Stopped"))
    played = run(training("Train"), model("After", after=("Train",)))
    assert played.states == {"Train": "Stopped", "After": NEVER}
    assert played.run.state.name == "Stopped"
    assert played.records.end(played.id)["status"] == "Stopped"  # type: ignore[index]


def test_unsupported_step_fails_the_run_before_its_first_job(run: Run, aws: FakeSageMaker) -> None:
    played = run(Step("Q", "Athena"), model("Free"))
    assert played.states == {}
    assert aws.called("create_model") == []
    assert "Athena" in played.state.message
