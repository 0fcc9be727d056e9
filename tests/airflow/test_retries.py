"""The user's own retries of a task: a failed job is started again, a lost worker is not counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from airflow.policies import hookimpl
from airflow.sdk import DAG

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import (
    FailOperator,
    PythonStepOperator,
    ShellStepOperator,
    TrainingOperator,
    build,
)
from sagebridge_operators.airflow.task_retries import policy_plugins
from tests.dagtest import dagbags, new_id, play
from tests.fakes import FakeSageMaker, Plan, raises
from tests.shapes import fail, model, training

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]

FAILED = Plan(("InProgress", "Failed"), ending={"FailureReason": "AlgorithmError: x"})
NOW: dict[str, Any] = {"retry_delay": timedelta()}
ARGUMENTS: Any = dict(training("Train").arguments)


class Lost(Exception):
    """Ends a worker without a result for its step."""


def train(**more: Any) -> DAG:
    return build(Pipeline(steps=(training("Train"),)), dag_id=new_id(), **{**NOW, **more})


def jobs(aws: FakeSageMaker) -> list[str]:
    return [one["TrainingJobName"] for one in aws.called("create_training_job")]


@contextmanager
def cluster_policy(change: Any) -> Iterator[None]:
    """Lets ``change`` edit every task, as task_policy in airflow_local_settings does."""

    class Policy:
        @staticmethod
        @hookimpl
        def task_policy(task: Any) -> None:
            change(task)

    plugins = policy_plugins()
    plugins.register(Policy)
    yield
    plugins.unregister(Policy)


def test_failed_job_is_started_again_as_often_as_the_user_set(aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    played = play(train(retries=2))
    assert (played.state, played.tries) == ("failed", {"Train": 3})
    assert [name[-2:] for name in jobs(aws)] == ["-0", "-1", "-2"]
    assert len(set(jobs(aws))) == 3
    attempts = played.records.attempts(played.execution)
    assert [(one.number, one.tries, one.state) for one in attempts] == [
        (0, 0, "Failed"),
        (1, 1, "Failed"),
        (2, 2, "Failed"),
    ]
    assert "AlgorithmError: x" in str(played.xcom("Train", "failure_reason"))


def test_retry_that_succeeds_is_the_result_of_the_step(aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    aws.before["create_training_job"] = [
        lambda: None,
        lambda: aws.plans.update(Train=Plan()),
    ]
    played = play(train(retries=2))
    assert (played.state, played.tries) == ("success", {"Train": 2})
    assert played.steps["Train"].outputs
    assert played.xcom("Train")["job"]["name"] == jobs(aws)[1]


def test_failed_job_is_not_started_again_by_default(aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    played = play(train())
    assert (played.state, played.tries, len(jobs(aws))) == ("failed", {"Train": 1}, 1)


def test_lost_worker_between_two_failures_is_not_counted(
    aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.lifecycle import drive

    monkeypatch.setattr(drive, "is_outage", lambda error: False)
    aws.plans["Train"] = FAILED
    # Looks per try: before create, after create, then until Failed.
    lost = raises(Lost())
    look = lambda: None  # noqa: E731 - one per callback
    first, second = [look] * 3, [look, look, lost, look]
    aws.before["describe_training_job"] = [*first, *second]
    played = play(train(retries=2))
    assert (played.state, played.tries) == ("failed", {"Train": 4})
    assert len(jobs(aws)) == 3
    assert [one.tries for one in played.records.attempts(played.execution)] == [0, 1, 2]


@pytest.mark.managed
def test_worker_lost_before_it_reported_a_failure_uses_one_retry(
    aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.lifecycle.drive import StepDriver

    run, lost = StepDriver.run, [True]

    def runs(driver: StepDriver) -> dict[str, Any]:
        try:
            return run(driver)
        except Exception:
            if lost and lost.pop():
                raise Lost from None
            raise

    monkeypatch.setattr(StepDriver, "run", runs)
    aws.plans["Train"] = FAILED
    played = play(train(retries=1))
    assert (played.state, played.tries, len(jobs(aws))) == ("failed", {"Train": 2}, 2)


def test_mapped_tasks_count_for_each_index(aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    with DAG(new_id("mapped"), schedule=None, default_args={"retries": 1}) as dag:
        TrainingOperator.partial(task_id="Train", **NOW).expand(arguments=[ARGUMENTS] * 2)
    played = play(dag)
    assert played.state == "failed"
    attempts = played.records.attempts(played.execution)
    assert sorted((one.index, one.tries) for one in attempts) == [
        ((0,), 0),
        ((0,), 1),
        ((1,), 0),
        ((1,), 1),
    ]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(("InProgress", "Stopped")), "Stopped"),
        (Plan(("InProgress", "Stopped"), ending={"FailureReason": "by a user"}), "by a user"),
    ],
)
def test_stopped_job_is_not_started_again(plan: Plan, reason: str, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = plan
    played = play(train(retries=2))
    assert (played.state, played.tries, len(jobs(aws))) == ("failed", {"Train": 1}, 1)
    assert reason in str(played.xcom("Train", "failure_reason"))


def test_steps_that_would_fail_again_are_not_retried(aws: FakeSageMaker) -> None:
    from sagebridge.model.expressions import properties_of

    steps = (
        fail("Fail"),
        model("Made"),
        model("Unresolvable", PrimaryContainer={"Image": properties_of("Made").None_.Here}),
    )
    played = play(build(Pipeline(steps=steps), dag_id=new_id(), retries=2, **NOW))
    assert played.tries["Fail"] == played.tries["Unresolvable"] == 1
    assert len(aws.called("create_model")) == 1


def test_raised_function_is_called_again_and_keeps_its_exception(aws: FakeSageMaker) -> None:
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("not yet")
        return len(calls)

    seen: list[BaseException | None] = []
    with DAG(new_id(), schedule=None, default_args={"retries": 2, **NOW}) as dag:
        PythonStepOperator(
            task_id="Code",
            python_callable=flaky,
            on_retry_callback=lambda context: seen.append(context.get("exception")),
        )
    played = play(dag)
    assert (played.state, played.tries) == ("success", {"Code": 3})
    if seen == [None, None]:  # Airflow 3.1 gives callbacks no exception
        return
    assert [str(one) for one in seen] == ["not yet", "not yet"]
    assert {type(one) for one in seen} == {ValueError}


def test_function_that_raises_airflow_fail_exception_is_not_retried(aws: FakeSageMaker) -> None:
    from sagebridge_operators.airflow._compat import AirflowFailException, AirflowSkipException

    def hopeless() -> None:
        raise AirflowFailException("wrong input")

    def skipping() -> None:
        raise AirflowSkipException("nothing to do")

    with DAG(new_id(), schedule=None, default_args={"retries": 1, **NOW}) as dag:
        PythonStepOperator(task_id="Hopeless", python_callable=hopeless)
        PythonStepOperator(task_id="Skipping", python_callable=skipping)
        ShellStepOperator(task_id="Shell", bash_command="exit 3")
    played = play(dag)
    assert played.tries == {"Hopeless": 1, "Skipping": 1, "Shell": 2}
    assert played.states == {"Hopeless": "failed", "Skipping": "skipped", "Shell": "failed"}


@pytest.mark.parametrize("retries", [0, 1])
def test_time_limit_stops_the_job_and_is_retried(retries: int, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    aws.after["create_training_job"] = [lambda: time.sleep(0.01)] * 2
    played = play(train(retries=retries, execution_timeout=timedelta(seconds=1)))
    assert (played.state, played.tries) == ("failed", {"Train": 1 + retries})
    assert len(jobs(aws)) == len(aws.called("stop_training_job")) == 1 + retries
    attempts = played.records.attempts(played.execution)
    assert [one.end.failure.kind for one in attempts if one.end and one.end.failure] == [
        "time-limit"
    ] * (1 + retries)


@pytest.mark.parametrize(
    ("given", "policy", "failures"),
    [
        (1, lambda task: None, 2),
        (None, lambda task: setattr(task, "retries", 1), 2),
        (1, lambda task: setattr(task, "retries", max(task.retries, 2)), 3),
        (2, lambda task: setattr(task, "retries", min(task.retries, 1)), 2),
        (None, lambda task: setattr(task, "retries", task.retries or 0), 1),
    ],
)
def test_cluster_policy_reads_and_sets_the_users_number(
    given: int | None, policy: Any, failures: int, aws: FakeSageMaker
) -> None:
    aws.plans["Train"] = FAILED
    more = {} if given is None else {"retries": given}
    with cluster_policy(policy):
        played = play(train(**more))
        with DAG(new_id("mapped"), schedule=None, default_args={**NOW, **more}) as dag:
            TrainingOperator.partial(task_id="Train").expand(arguments=[ARGUMENTS])
        mapped = play(dag)
    assert [len(one.records.attempts(one.execution)) for one in (played, mapped)] == [failures] * 2


def test_scheduler_gets_two_more_for_lost_workers() -> None:
    with DAG(new_id(), schedule=None, default_args={"retries": 3}) as dag:
        one = TrainingOperator(task_id="One", arguments=ARGUMENTS)
        none = TrainingOperator(task_id="None", arguments=ARGUMENTS, retries=0)
        mapped = TrainingOperator.partial(task_id="Mapped").expand(arguments=[ARGUMENTS])
        no = FailOperator(task_id="Fail", error_message="no", retries=0)
    assert [task.retries for task in (one, none, mapped, no)] == [3, 0, 3, 0]
    dagbags().DagBag(dag_folder="/dev/null").bag_dag(dag)
    assert [task.retries for task in (one, none, mapped, no)] == [5, 2, 5, 0]


def test_edited_retries_keep_the_count(aws: FakeSageMaker) -> None:
    """The records count; the second try has another number of retries in its file."""
    aws.plans["Train"] = FAILED
    dag = train(retries=3)

    def edit() -> None:
        vars(dag.get_task("Train"))["sagebridge_user_retries"] = 1

    aws.before["create_training_job"] = [lambda: None, edit]
    played = play(dag)
    assert (played.state, played.tries, len(jobs(aws))) == ("failed", {"Train": 3}, 2)
    assert {one.generation for one in played.records.attempts(played.execution)} == {5}


def test_log_names_the_try_and_the_delay(
    aws: FakeSageMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    aws.plans["Train"] = FAILED
    play(train(retries=1, retry_delay=timedelta(seconds=0.01)))
    out, err = capfd.readouterr()
    log = out + err
    assert "try 1 of 2 failed; Airflow starts the step again in 0.01 s" in log
    assert "try 2 of 2" in log
    assert "try 2 of 2 failed" not in log
    assert "Traceback" not in log


def test_retry_policy_decides_about_failed_jobs(aws: FakeSageMaker) -> None:
    try:
        from airflow.sdk.definitions import retry_policy as sdk
    except ImportError:  # before Airflow 3.3
        return
    from sagebridge_operators.run_errors import StepFailed

    aws.plans["Train"] = FAILED
    rules = [sdk.RetryRule(exception=StepFailed, action=sdk.RetryAction.FAIL)]
    played = play(train(retries=2, retry_policy=sdk.ExceptionRetryPolicy(rules)))
    assert (played.state, played.tries, len(jobs(aws))) == ("failed", {"Train": 1}, 1)
