"""ForEach steps in flow runs: one task run per body step and item."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from sagebridge.model.values import thaw
from sagebridge_operators.backends import RESUMED, open_backend
from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.lifecycle.attempt import Attempt, Part
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.opening import retry_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.fakes import FakeBackend
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.live_jobs import most_live
from tests.faulty_aws.server import FaultyAws
from tests.prefect.conftest import Run, flow_of
from tests.shapes import training

pytestmark = pytest.mark.prefect
FLOW = '''
from prefect import flow, task

from sagebridge_operators.prefect import (
    begin,
    condition,
    current_item,
    equals,
    finish,
    for_each,
    iteration_output,
    join,
    max_by,
    min_by,
    parameter,
    python,
    training,
)

REQUEST = {request!r}


def job(*names):
    """The request of a job whose name begins with ``names``."""
    return {{**REQUEST, "TrainingJobName": join("-", *names)}}


@flow(name={name!r})
def loop(Items: str = '["a", "b", "c"]') -> object:
    {before}
    fan = for_each("Fan", items={items}, max_concurrency={limit}, selector={selector})
    with fan.body():
        score = training("Score", arguments=job("Score", current_item){options})
        {body}
    {after}
    {end}
'''
TIME = "TrainingTimeInSeconds"
READERS = f"""second = fan.properties.IterationOutputs[1].Score.{TIME}
    training("Second", arguments=job("Second", second))
    training("Best", arguments=job("Best", fan.properties.Selected.{TIME}))"""
DEPENDENT = f'training("Next", arguments=job("Next", current_item, score.properties.{TIME}))'


def loop(
    name: str,
    *,
    before: str = "pass",
    items: str = 'parameter("Items")',
    limit: int = 2,
    selector: str = f"max_by(iteration_output.Score.{TIME})",
    options: str = "",
    body: str = "",
    after: str = "",
    end: str = "return finish()",
) -> Any:
    request = thaw(training("T").arguments)
    return flow_of(FLOW.format(**locals()))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    """An AWS whose jobs steps look at often. The job of item c trained for the longest time."""
    monkeypatch.setattr(AwsBackend, "poll_seconds", (0.02, 0.05))
    with FaultyAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        for item, seconds in {"a": 10, "b": 20, "c": 30}.items():
            aws.add_scripts(JobScript(name=f"Score-{item}-*", members={TIME: seconds}))
        yield aws


def started(aws: FaultyAws) -> list[str]:
    """The names of all jobs, without what follows from execution and attempt."""
    return sorted("-".join(one.split("-")[:-3]) for one in aws.resources("TrainingJob"))


def when(condition: Callable[[], object], action: Callable[[], object]) -> None:
    """Does something as soon as a condition holds, while the test goes on."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.02)
        action()

    threading.Thread(target=wait, daemon=True).start()


def live(aws: FaultyAws) -> list[str]:
    """The jobs that have not ended."""
    client = aws.client("sagemaker")
    found = client.list_training_jobs()["TrainingJobSummaries"]
    ended = ("Completed", "Failed", "Stopped")
    return [one["TrainingJobName"] for one in found if one["TrainingJobStatus"] not in ended]


def flow_run_of(records: ExecutionRecords, execution: str) -> UUID:
    return UUID((records.execution(execution) or {})["run"].rpartition("/")[2])


def run_again(flow: Any, run_id: UUID) -> Any:
    """Runs the same flow run in a new process, as Prefect's Retry button and workers do."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import AwaitingRetry

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        again = client.read_flow_run(run_id)
    return run_flow(flow, again, return_type="state")


def test_each_item_has_a_task_run_and_later_steps_read_outputs(play: Run, aws: FaultyAws) -> None:
    aws.add_scripts(
        *(JobScript(name=f"Score-{one}-*", seconds=0.5, members={TIME: 5}) for one in "abc"),
        JobScript(name="Score-b-*", seconds=0.5, members={TIME: 20}),
    )
    played = play(loop("loop", after=READERS))
    assert played.state.is_completed(), played.messages
    assert played.states == dict.fromkeys(
        ("Score-0", "Score-1", "Score-2", "Fan", "Second", "Best"), "Completed"
    )
    assert started(aws) == ["Best-20", "Score-a", "Score-b", "Score-c", "Second-20"]
    assert most_live(aws, 0.5) == 2
    outputs = played.steps["Fan"].outputs or {}
    assert (outputs["input_item_count"], outputs["succeeded_step_count"]) == (3, 3)
    assert outputs["selected"] == {"step": "Score", "index": 1}
    assert list(played.state.result()["steps"]) == [
        "Fan",
        "Score-0",
        "Score-1",
        "Score-2",
        "Second",
        "Best",
    ]


def test_artifact_lists_the_iterations(play: Run, aws: FaultyAws) -> None:
    import json

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    aws.add_scripts(JobScript(name="Score-b-*", statuses=("Failed",)))
    played = play(loop("artifact"))
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[played.run.id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=of_run)
    (table,) = (json.loads(str(one.data)) for one in found if one.type == "table")
    assert [(one["Step"], one["Item"], one["State"]) for one in table] == [
        ("Fan", "", "Failed"),
        ("Score-0", "a", "Succeeded"),
        ("Score-1", "b", "Failed"),
        ("Score-2", "c", "Succeeded"),
    ]
    keys = {one.key for one in found if one.type != "table"}
    assert "score-1-sagemaker-console" in keys


def test_items_of_a_step_are_known_once_it_has_ended(play: Run, aws: FaultyAws) -> None:
    flow = loop(
        "step",
        before="listed = python('List', lambda: '[\"b\", \"c\"]')",
        items="listed.properties.return_value",
        after=READERS,
    )
    assert play(flow).state.is_completed()
    assert started(aws) == ["Best-30", "Score-b", "Score-c", "Second-30"]


def test_empty_list_runs_nothing_and_succeeds(play: Run, aws: FaultyAws) -> None:
    played = play(loop("empty", after='python("After", list, depends_on=[fan])'), {"Items": "[]"})
    assert played.states == {"Fan": "Completed", "After": "Completed"}
    assert played.state.result()["steps"]["Score"] == "Skipped"
    assert not started(aws)


def test_wrong_items_fail_the_step(play: Run, aws: FaultyAws) -> None:
    played = play(loop("none", after=READERS), {"Items": "abc"})
    assert played.states == {"Fan": "Failed", "Second": "NotRun", "Best": "NotRun"}
    assert "expected a JSON list" in played.messages["Fan"]
    assert not started(aws)


def test_failed_iteration_lets_the_others_run(play: Run, aws: FaultyAws) -> None:
    aws.add_scripts(
        JobScript(name="Score-a-*", statuses=("Failed",), members={"FailureReason": "bad data"})
    )
    played = play(loop("failing", limit=1, body=DEPENDENT, after=READERS))
    assert played.states == {
        "Score-0": "Failed",
        "Next-0": "NotRun",
        **dict.fromkeys(("Score-1", "Next-1", "Score-2", "Next-2"), "Completed"),
        "Fan": "Failed",
        "Second": "NotRun",
        "Best": "NotRun",
    }
    assert played.state.is_failed()
    message = played.messages["Fan"]
    assert message.startswith("1 of 3 iterations did not succeed: Score-0: Training job Score-a-")
    assert message.endswith("Failed: bad data")
    assert started(aws) == ["Next-b-20", "Next-c-30", "Score-a", "Score-b", "Score-c"]


def test_limits_hold_for_whole_iterations(play: Run, aws: FaultyAws) -> None:
    """An iteration of two dependent steps is live between them, too."""
    items = [f"i{number}" for number in range(5)]
    aws.add_scripts(JobScript(name="Score-*", members={TIME: 1}))
    played = play(loop("two", body=DEPENDENT), {"Items": str(items).replace("'", '"')})
    assert played.state.is_completed(), played.messages
    spans: dict[int, list[str]] = {}
    for one in played.records.attempts(played.id):
        if one.index:
            spans.setdefault(one.index[0], []).extend((one.started, one.ended))
    moments = sorted(at for span in spans.values() for at in span)
    most = max(sum(min(one) <= at < max(one) for one in spans.values()) for at in moments)
    assert (len(spans), most) == (5, 2)


def test_limit_of_the_pipeline_holds_too(play: Run, aws: FaultyAws) -> None:
    aws.add_scripts(JobScript(name="Score-*", seconds=0.4, members={TIME: 1}))
    one = 'begin(pipeline={"ParallelismConfiguration": {"MaxParallelExecutionSteps": 1}})'
    played = play(loop("one", before=one, limit=3))
    assert played.state.is_completed()
    assert (most_live(aws, 0.4), aws.count("CreateTrainingJob")) == (1, 3)


@pytest.mark.parametrize(("pick", "index"), [("max_by", 0), ("min_by", 1)])
def test_first_item_wins_a_tie(pick: str, index: int, play: Run, aws: FaultyAws) -> None:
    for item, seconds in {"a": 9, "b": 3, "c": 9, "d": 3}.items():
        aws.add_scripts(JobScript(name=f"Score-{item}-*", members={TIME: seconds}))
    flow = loop(pick, selector=f"{pick}(iteration_output.Score.{TIME})")
    played = play(flow, {"Items": '["a", "b", "c", "d"]'})
    assert (played.steps["Fan"].outputs or {})["selected"] == {"step": "Score", "index": index}


def test_values_after_finish(play: Run, aws: FaultyAws) -> None:
    end = f"""early = fan.properties.IterationOutputs[0].Score.{TIME}
    result = finish()
    found = fan.properties
    seen.append((
        found.Status, found.InputItemCount, len(found.IterationOutputs),
        found.IterationOutputs[1].Score.{TIME}, found.Selected.{TIME},
        note(early), note(found.Selected.{TIME}),
    ))
    return result"""
    flow = loop("values", end=end)
    names = flow.fn.__globals__
    seen: list[Any] = []
    names |= {"seen": seen, "note": names["task"](lambda value: value)}
    assert play(flow).state.is_completed()
    assert seen == [("Succeeded", 3, 3, 20, 30, 10, 30)]


def test_users_retries_of_a_body_step(play: Run, aws: FaultyAws) -> None:
    aws.add_scripts(JobScript(name="Score-b-*", statuses=("Failed",)))
    played = play(loop("retries", options=", retries=1"))
    assert played.states["Fan"] == "Failed"
    assert started(aws) == ["Score-a", "Score-b", "Score-b", "Score-c"]


def test_retried_flow_run_starts_only_failed_iterations_again(play: Run, aws: FaultyAws) -> None:
    aws.add_scripts(JobScript(name="Score-b-*", statuses=("Failed",)))
    flow = loop("again", body=DEPENDENT, after=READERS)
    first = play(flow)
    assert first.state.is_failed()
    aws.add_scripts(JobScript(name="Score-b-*", members={TIME: 20}))
    assert run_again(flow, first.run.id).is_completed()
    assert started(aws) == [
        "Best-30",
        "Next-a-10",
        "Next-b-20",
        "Next-c-30",
        "Score-a",
        "Score-b",
        "Score-b",
        "Score-c",
        "Second-20",
    ]
    generations = {
        one.index: one.generation for one in first.records.current(first.id) if one.step == "Score"
    }
    assert generations == {(0,): 0, (1,): 1, (2,): 0}


def test_killed_flow_process_goes_on(
    play: Run, aws: FaultyAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended iterations stay ended, a running job is found, and the others begin."""
    from sagebridge_operators.prefect.for_each_run import ForEachRun

    ready = ForEachRun.ready

    def ready_until_killed(loop: ForEachRun, *more: Any) -> Iterator[Any]:
        return (one for one in ready(loop, *more) if one[0].index < (2,))

    flow = loop("killed", after=READERS)
    with monkeypatch.context() as patch:
        patch.setattr(ForEachRun, "ready", ready_until_killed)
        first = play(flow)
    assert started(aws) == ["Score-a", "Score-b"]
    (lost,) = (one for one in first.records.attempts(first.id) if one.index == (1,))
    (key,) = (one for one in first.records.objects.keys(first.id) if one.endswith("0.1.0.json"))
    first.records.objects.put(key, replace(lost, phase="created", end=None).as_json())
    first.records.objects.remove(f"{first.id}/end.json")
    monkeypatch.setenv(RESUMED, "1")

    for _ in range(2):  # all steps have ended the second time
        assert run_again(flow, first.run.id).is_completed()

    assert started(aws) == ["Best-30", "Score-a", "Score-b", "Score-c", "Second-20"]
    assert {one.index: one.generation for one in first.records.attempts(first.id)} == {
        (): 0,
        (0,): 0,
        (1,): 0,
        (2,): 0,
    }


def test_interrupted_flow_leaves_no_job(
    server: None, records: ExecutionRecords, aws: FaultyAws
) -> None:
    del server
    aws.add_scripts(JobScript(name="Score-*", statuses=("InProgress",)))
    when(lambda: aws.count("CreateTrainingJob") == 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        loop("interrupted")()
    assert not live(aws)
    (execution,) = records.ids()
    assert {one.state for one in records.attempts(execution)} == {"Stopped"}
    assert (records.end(execution) or {})["status"] == "Stopped"


def test_stop_of_the_execution_stops_all_iterations(
    play: Run, records: ExecutionRecords, aws: FaultyAws
) -> None:
    """As ``executions stop`` does it, in another process."""
    aws.add_scripts(JobScript(name="Score-*", statuses=("InProgress",)))

    def stop() -> None:
        Ending(records, records.ids()[0], lambda attempt: open_backend("aws")).stop()

    when(lambda: len(live(aws)) == 2, stop)
    played = play(loop("stopped"))
    assert played.run.state.name == "Stopped"
    assert not live(aws)
    assert started(aws) == ["Score-a", "Score-b"]
    assert played.states["Fan"] == "Stopped"
    fan = played.steps["Fan"]
    assert (fan.state, (fan.outputs or {})["stopped_step_count"]) == ("Stopped", 3)


def test_suspended_flow_run_goes_on(
    play: Run, records: ExecutionRecords, aws: FaultyAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect ends the task run that runs at that time with the signal Pause."""
    from prefect.exceptions import Pause
    from prefect.states import Suspended

    run = StepDriver.run

    def run_until_suspended(driver: StepDriver) -> Any:
        outputs = run(driver)
        if driver.task.index == (0,):
            raise Pause(state=Suspended(timeout_seconds=600))
        return outputs

    flow = loop("suspended", limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(StepDriver, "run", run_until_suspended)
        with pytest.raises(Pause):
            flow()
    assert started(aws) == ["Score-a"]
    (execution,) = records.ids()
    assert run_again(flow, flow_run_of(records, execution)).is_completed()
    assert started(aws) == ["Score-a", "Score-b", "Score-c"]


def test_cancelled_flow_run_leaves_no_job(
    play: Run, records: ExecutionRecords, aws: FaultyAws
) -> None:
    """The runner has killed the flow's process and calls the hook in its own."""
    from sagebridge_operators.prefect import stop_jobs

    flow = loop("cancelled")
    played = play(flow)
    aws.add_scripts(JobScript(statuses=("InProgress",)))
    request = {**thaw(training("T").arguments), "TrainingJobName": "lost"}
    arn = aws.client("sagemaker").create_training_job(**request)["TrainingJobArn"]
    attempts = {one.name: one for one in records.attempts(played.id)}
    job = (Part("lost", arn),)
    for lost in (
        replace(attempts["Fan"], phase="planned", end=None),
        replace(attempts["Score-1"], phase="created", end=None, parts=job),
    ):
        key = next(key for key in records.objects.keys(played.id) if key.endswith(_file(lost)))
        records.objects.put(key, lost.as_json())
    records.objects.remove(f"{played.id}/end.json")
    stop_jobs(flow, played.run, None)
    assert not live(aws)
    reached = {one.name: one.state for one in records.attempts(played.id)}
    assert reached == {
        "Fan": "Stopped",
        "Score-0": "Succeeded",
        "Score-1": "Stopped",
        "Score-2": "Succeeded",
    }
    assert (records.end(played.id) or {})["status"] == "Stopped"


def _file(attempt: Attempt) -> str:
    index = "-".join(map(str, attempt.index)) or "_"
    return f"/{attempt.step}/0.{index}.0.json"


def test_retried_execution_keeps_the_items(
    play: Run, records: ExecutionRecords, aws: FaultyAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``executions retry`` starts another flow run, on another server."""
    aws.add_scripts(JobScript(name="Score-b-*", statuses=("Failed",)))
    flow = loop("retry", after=READERS)
    first = play(flow).id
    aws.add_scripts(JobScript(name="Score-b-*", members={TIME: 20}))
    retry_execution(records, first)
    given = "sagebridge_operators.prefect.opened_execution.given_execution"
    monkeypatch.setattr(given, lambda run: first)
    assert play(flow).state.is_completed()
    assert records.ids() == [first]
    assert started(aws) == ["Best-30", "Score-a", "Score-b", "Score-b", "Score-c", "Second-20"]


def test_step_after_a_plain_if_reads_other_outputs(play: Run, aws: FaultyAws) -> None:
    """The loop has ended before the flow declares that it reads them."""
    after = f"""check = condition("Check", conditions=[equals(fan.properties.InputItemCount, 3)])
    if check:
        first = fan.properties.IterationOutputs[0].Score.{TIME}
        training("Late", arguments=job("Late", first, fan.properties.SucceededStepCount))"""
    played = play(loop("late", after=after))
    assert played.state.is_completed(), played.messages
    assert "Late-10-3" in started(aws)


@pytest.mark.parametrize(
    ("body", "after", "problem"),
    [
        ("", f"note(score.properties.{TIME})", "Steps.Fan.IterationOutputs[0].Score"),
        ("bool(check)", "pass", "in the body of 'Fan'"),
    ],
)
def test_misuse_of_a_body_is_an_error(
    body: str, after: str, problem: str, play: Run, aws: FaultyAws
) -> None:
    before = 'check = condition("Check", conditions=[equals(1, 1)])'
    flow = loop("misuse", before=before, body=body, after=after)
    names = flow.fn.__globals__
    names["note"] = names["task"](lambda value: value)
    played = play(flow)
    assert played.state.is_failed()
    assert problem in played.state.message
    assert not started(aws)


CODE = """
from prefect import flow
from sagebridge_operators.prefect import (
    current_item, ended, finish, for_each, iteration_output, min_by, parameter, python
)

seen = []

@flow(name="code")
def code(Items: str = '[{"n": 3}, {"n": 1}, {"n": 2}]') -> object:
    fan = for_each(
        "Fan",
        items=parameter("Items"),
        max_concurrency=3,
        selector=min_by(iteration_output.Double.return_value["double"]),
    )
    with fan.body():
        double = python("Double", lambda n: {"double": 2 * n}, args=[current_item.n])
        python("Check", lambda n: 12 // (n - 6), args=[double.properties.return_value["double"]])
    python("Report", lambda: seen.append("ended"), depends_on=[ended(fan)])
    return finish()
"""


def test_functions_in_a_body(play: Run, backend: FakeBackend) -> None:
    """The first item divides by zero. A step with a trigger runs after the loop failed."""
    flow = flow_of(CODE)
    played = play(flow)
    assert flow.fn.__globals__["seen"] == ["ended"]
    assert played.states["Check-0"] == "Failed"
    assert "ZeroDivisionError" in played.messages["Fan"]
    assert {played.states[f"Check-{index}"] for index in (1, 2)} == {"Completed"}
    outputs = played.steps["Fan"].outputs or {}
    assert outputs["selected"] == {"step": "Double", "index": 1}
