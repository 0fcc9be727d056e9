"""The user's own retries of a step: a failed job is started again, a lost worker is not counted."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from sagebridge.model.values import thaw
from sagebridge_operators.backends import RESUMED
from tests.fakes import FakeSageMaker, Plan, raises
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.shapes import training

pytestmark = pytest.mark.prefect

FAILED = Plan(("InProgress", "Failed"), ending={"FailureReason": "AlgorithmError: x"})
FLOW = """
from prefect import flow

from sagebridge_operators.prefect import begin, finish, python, training

REQUEST = {request!r}


@flow(name="Again"{flow_options})
def again() -> object:
    begin({begin})
    {steps}
    return finish()
"""
TRAIN = 'training("Train", arguments=REQUEST{options})'


def flow_with(
    options: str = "", *, begin: str = "", flow_options: str = "", steps: str = TRAIN
) -> Any:
    request = thaw(training("T").arguments)
    text = FLOW.format(
        request=request,
        begin=begin,
        flow_options=flow_options,
        steps=steps.replace("{options}", options),
    )
    return flow_of(text)


def jobs(aws: FakeSageMaker) -> list[str]:
    return [one["TrainingJobName"] for one in aws.called("create_training_job")]


def history(played: FinishedRun) -> list[str]:
    """The states of the task run, oldest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    with get_client(sync_client=True) as client:
        (task,) = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [played.run.id]}))
        states = client.read_task_run_states(task.id)
    return [one.name for one in sorted(states, key=lambda one: one.timestamp)]


@pytest.mark.parametrize(
    ("options", "begin"),
    [(", retries=2", ""), ("", "retries=2"), (", retries=2", "retries=5, retry_delay_seconds=0")],
)
def test_failed_job_is_started_again_as_often_as_the_user_set(
    options: str, begin: str, play: Run, aws: FakeSageMaker
) -> None:
    aws.plans["Train"] = FAILED
    played = play(flow_with(options, begin=begin))
    assert [name[-2:] for name in jobs(aws)] == ["-0", "-1", "-2"]
    attempts = sorted(played.records.attempts(played.id), key=lambda one: one.number)
    assert [(one.tries, one.state) for one in attempts] == [
        (0, "Failed"),
        (1, "Failed"),
        (2, "Failed"),
    ]
    assert played.states == {"Train": "Failed"}
    assert "AlgorithmError: x" in played.messages["Train"]


def test_retry_waits_and_its_success_is_the_result(play: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    aws.before["create_training_job"] = [
        lambda: None,
        lambda: aws.plans.update(Train=Plan()),
    ]
    played = play(flow_with(", retries=2, retry_delay_seconds=[0.1, 5]"))
    assert played.states == {"Train": "Completed"}
    assert len(jobs(aws)) == 2
    assert history(played) == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


def test_failed_job_is_not_started_again_by_default(play: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    play(flow_with())
    assert len(jobs(aws)) == 1


def test_lost_answers_between_two_failures_are_not_counted(
    play: Run, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.lifecycle import drive
    from sagebridge_operators.prefect import step_tasks

    monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0)
    monkeypatch.setattr(drive, "is_outage", lambda error: False)
    aws.plans["Train"] = FAILED
    look: Callable[[], None] = lambda: None  # noqa: E731 - one per callback
    lost = raises(ConnectionError("lost"))
    aws.before["describe_training_job"] = [look, look, lost, look, look, look, lost]
    played = play(flow_with(", retries=1"))
    assert len(jobs(aws)) == 2
    assert sorted(one.tries for one in played.records.attempts(played.id)) == [0, 1]


def test_stopped_job_is_not_started_again(play: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = Plan(("InProgress", "Stopped"))
    played = play(flow_with(", retries=2"))
    assert (played.states, len(jobs(aws))) == ({"Train": "Stopped"}, 1)


def test_raised_function_is_called_again(play: Run, aws: FakeSageMaker) -> None:
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("not yet")
        return 7

    steps = 'python("Code", FLAKY, retries=2)'
    text = FLOW.format(request={}, begin="", flow_options="", steps=steps)
    flow = flow_of(text)
    flow.fn.__globals__["FLAKY"] = flaky
    played = play(flow)
    assert played.states == {"Code": "Completed"}
    assert len(calls) == 3


def test_retried_flow_run_counts_from_the_start(play: Run, aws: FakeSageMaker) -> None:
    aws.plans["Train"] = FAILED
    played = play(flow_with(", retries=1", flow_options=", retries=1"))
    if version("prefect").startswith("3.7."):  # does not retry a flow that returns a Failed state
        assert len(jobs(aws)) == 2
        return
    assert len(jobs(aws)) == 4
    attempts = played.records.attempts(played.id)
    assert sorted((one.generation, one.tries) for one in attempts) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]


@pytest.mark.parametrize("lost", [True, False])
def test_resumed_flow_run_goes_on_with_the_count(
    lost: bool, play: Run, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was killed between a failed try and the next one, or after the last one."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    aws.plans["Train"] = FAILED
    flow = flow_with(", retries=1")
    played = play(flow)
    objects = played.records.objects
    objects.remove(f"{played.id}/end.json")
    if lost:
        (last,) = [key for key in objects.keys(f"{played.id}/steps/") if key.endswith(".1.json")]
        objects.remove(last)
        del aws.jobs[jobs(aws)[1]]
    monkeypatch.setenv(RESUMED, "1")
    aws.plans["Train"] = Plan()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(played.run.id, Pending(), force=True)
        again = client.read_flow_run(played.run.id)
    run_flow(flow, again, return_type="state")
    assert jobs(aws)[2:] == (jobs(aws)[1:2] if lost else [])
    attempts = played.records.attempts(played.id)
    assert sorted((one.generation, one.tries) for one in attempts) == [(0, 0), (0, 1)]
    assert played.steps["Train"].state == ("Succeeded" if lost else "Failed")


@pytest.mark.parametrize("options", ["retries=-1", "retries=True", 'retry_delay_seconds="soon"'])
def test_wrong_retries_are_reported_before_the_first_step(
    options: str, play: Run, aws: FakeSageMaker
) -> None:
    played = play(flow_with(f", {options}"))
    assert "step 'Train': " in played.state.message
    assert not aws.calls
