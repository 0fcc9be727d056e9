"""Which tasks run, are skipped and fail in Airflow."""

from __future__ import annotations

import pytest

from sagebridge.model.conditions import Condition, equals, greater_than
from sagebridge.model.expressions import join, parameter, plain, properties_of
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Step
from tests.airflow.conftest import Run
from tests.fakes import FakeSageMaker, Plan
from tests.shapes import FALSE, TRUE, branch, fail, model

pytestmark = pytest.mark.airflow

DONE, SKIPPED, FAILED, NEVER = "success", "skipped", "failed", "upstream_failed"


@pytest.mark.airflow31
@pytest.mark.parametrize("taken", [True, False])
def test_one_branch_runs_and_the_other_is_skipped(taken: bool, run: Run) -> None:
    played = run(
        model("Before"),
        branch(
            "Check",
            greater_than(properties_of("Before").ModelName, "q" if not taken else ""),
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
    assert played.state == "success"
    assert played.xcom("Check")["outcome"] is taken


@pytest.mark.airflow31
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
    assert played.states == {
        "Free": DONE,
        "Check": DONE,
        "Yes": SKIPPED,
        "No": DONE,
        "NeedsYes": SKIPPED,
        "NeedsBoth": SKIPPED,
        "NeedsNo": DONE,
        "AfterYes": SKIPPED,
        "Further": SKIPPED,
        "watch_failures": SKIPPED,
    }
    assert played.state == "success"


@pytest.mark.parametrize("condition", [TRUE, FALSE])
def test_dependant_of_condition_runs_after_either_outcome(condition: Condition, run: Run) -> None:
    played = run(
        branch("Check", condition, model("Yes"), otherwise=(model("No"),)),
        model("After", after=("Check",)),
        Step(
            "Reads",
            "Model",
            arguments=plain(
                {
                    "ExecutionRoleArn": "arn:aws:iam::111122223333:role/r",
                    "PrimaryContainer": {"Image": properties_of("Check").Outcome},
                }
            ),
        ),
    )
    assert played.states["After"] == played.states["Reads"] == DONE
    assert {played.states["Yes"], played.states["No"]} == {DONE, SKIPPED}
    assert played.rendered("Reads")["request"]["PrimaryContainer"]["Image"] == str(
        condition is TRUE
    )


@pytest.mark.airflow31
def test_false_condition_without_else_succeeds(run: Run) -> None:
    played = run(branch("Check", FALSE, model("Yes")), model("After", after=("Check",)))
    assert played.states == {"Check": DONE, "Yes": SKIPPED, "After": DONE}
    assert played.state == "success"


def test_step_that_needs_both_branches_never_runs(run: Run, aws: FakeSageMaker) -> None:
    played = run(
        branch("Check", TRUE, model("Yes"), otherwise=(model("No"), model("Odd", "Yes"))),
        branch("Check2", TRUE, model("Yes2"), model("Odd2", "No2"), otherwise=(model("No2"),)),
    )
    assert played.states["Yes"] == played.states["Yes2"] == DONE
    assert {played.states[name] for name in ("No", "Odd", "No2", "Odd2")} == {SKIPPED}
    assert len(aws.jobs) == 2


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
    assert played.state == "success"


@pytest.mark.airflow31
def test_fail_step_fails_the_run_without_retry(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    played = run(
        model("Before"),
        branch(
            "Check",
            FALSE,
            model("Yes"),
            otherwise=(fail("Stop", join(" ", "MSE >", parameter("Threshold"))),),
        ),
        model("Aside"),
        model("AfterAside", "Aside"),
        parameters=(Parameter("Threshold", "Float", 1.0),),
    )
    assert played.states == {
        "Before": DONE,
        "Check": DONE,
        "Yes": SKIPPED,
        "Stop": FAILED,
        "Aside": DONE,
        "AfterAside": DONE,
    }
    assert played.state == "failed"
    assert played.tries["Stop"] == 1
    assert played.xcom("Stop", "failure_reason") == "MSE > 1.0"
    assert played.steps["Stop"].reason == "MSE > 1.0"


def test_failed_step_blocks_only_its_dependants(run: Run, aws: FakeSageMaker) -> None:
    aws.plans["Bad"] = Plan(("InProgress", "Failed"), ending={"FailureReason": "AlgorithmError: x"})
    training = {
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    played = run(
        Step("Bad", "Training", arguments=plain(training)),
        model("NeedsBad", after=("Bad",)),
        branch("Check", TRUE, model("Yes"), after=("NeedsBad",)),
        model("Free"),
        model("NeedsFree", "Free"),
    )
    assert played.states == {
        "Bad": FAILED,
        "NeedsBad": NEVER,
        "Check": NEVER,
        "Yes": NEVER,
        "Free": DONE,
        "NeedsFree": DONE,
    }
    assert played.state == "failed"
    assert played.tries["Bad"] == 1, "a verdict is not retried"
    assert played.xcom("Bad", "failure_reason").endswith("Failed: AlgorithmError: x")
    assert len(aws.called("create_training_job")) == 1


def test_condition_with_incomparable_values_fails(run: Run) -> None:
    played = run(
        branch("Check", equals("1", 1), model("Yes"), otherwise=(model("No"),)),
        model("After", after=("Check",)),
    )
    assert played.states == {"Check": FAILED, "Yes": NEVER, "No": NEVER, "After": NEVER}
    assert "'1' (String) with 1 (Integer)" in played.xcom("Check", "failure_reason")


def test_stopped_job_fails_the_run(run: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress", "Stopped"))
    transform = {
        "ModelName": "m",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://b/y"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    played = run(
        Step("Train", "Transform", arguments=plain(transform)), model("A", after=("Train",))
    )
    assert played.states == {"Train": FAILED, "A": NEVER}
    assert played.steps["Train"].state == "Stopped"


@pytest.mark.airflow31
def test_hidden_failure_fails_the_run(run: Run) -> None:
    played = run(fail("Broken"), branch("Check", FALSE, model("Yes", after=("Broken",))))
    assert played.state == "failed"
    assert played.states["Yes"] == SKIPPED
    assert played.states["watch_failures"] == FAILED


def test_watcher_is_skipped_without_failure(run: Run) -> None:
    played = run(model("Fine"), branch("Check", FALSE, model("Yes", "Fine")))
    assert played.state == "success"
    assert played.states["watch_failures"] == SKIPPED
