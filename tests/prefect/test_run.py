"""Flow runs: tags, concurrency, retries and cancellation."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sagebridge import ended, read
from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import thaw
from sagebridge_operators.backends import RESUMED
from sagebridge_operators.lifecycle.attempt import Part, Phase
from sagebridge_operators.lifecycle.ending import INTERRUPTED, Ending
from sagebridge_operators.lifecycle.execution import Execution, execution_id, job_name
from sagebridge_operators.lifecycle.opening import retry_execution
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import status
from sagebridge_operators.prefect.flow_run import FlowRun
from sagebridge_operators.prefect.step_keys import StepKey
from sagebridge_operators.run_errors import RecordsUnreachable
from tests.attempts import attempt_of
from tests.fakes import FakeBackend, FakeSageMaker, Plan, raises
from tests.prefect.conftest import FinishedRun, Run, flow_of
from tests.shapes import ROLE, fail, model, training

pytestmark = pytest.mark.prefect

TAGGED = """
from prefect import flow, tags

from sagebridge_operators.prefect import fail, finish


@flow(name="tagged")
def tagged() -> object:
    with tags("gpu"):
        fail("A", error_message="a")
        with tags("eu"):
            fail("B", error_message="b")
    fail("C", error_message="c")
    with tags("all"):
        return finish()
"""


def test_tags_around_a_step_are_tags_of_its_task_run(play: Run, backend: FakeBackend) -> None:
    """Although the task is submitted later, in ``finish()``."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    played = play(flow_of(TAGGED))
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [played.run.id]}))
    assert {task.name: set(task.tags) for task in tasks} == {
        "A": {"gpu", "all"},
        "B": {"gpu", "eu", "all"},
        "C": {"all"},
    }


def test_failed_step_logs_no_empty_traceback(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        run(fail("Stop", "not good enough"))
    assert "not good enough" in caplog.messages
    assert "NoneType" not in caplog.text


def test_independent_steps_run_concurrently(run: Run, aws: FakeSageMaker) -> None:
    together = threading.Barrier(3, timeout=20)
    aws.before["create_training_job"] = [together.wait] * 3  # type: ignore[list-item]
    played = run(training("A"), training("B"), training("C"))
    assert set(played.states.values()) == {"Completed"}


def test_parallelism_limit_holds(run: Run, aws: FakeSageMaker) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def begin() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.3)
        with lock:
            running[0] -= 1

    aws.before["create_model"] = [begin] * 6
    played = run(*(model(f"M{number}") for number in range(6)), limit=2)
    assert set(played.states.values()) == {"Completed"}
    assert most[0] == 2


@pytest.mark.parametrize(
    "error", [ConnectionError("lost"), RecordsUnreachable("x.json", "s3://records", "SlowDown")]
)
def test_retry_after_lost_answer_finds_the_job(
    error: Exception, run: Run, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.prefect import step_tasks

    monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0)
    aws.after["create_training_job"].append(raises(error))
    played = run(training("Train"))
    assert played.states == {"Train": "Completed"}
    assert len(aws.called("create_training_job")) == 1


def test_lasting_outage_fails_the_step(
    run: Run, aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagebridge_operators.prefect import step_tasks

    monkeypatch.setattr(step_tasks, "_SECONDS_BETWEEN", 0)
    aws.before["describe_training_job"] = [raises(ConnectionError("no route"))] * 9
    played = run(training("Train"), model("After", after=("Train",)))
    assert played.states == {"Train": "Failed", "After": "NotRun"}
    message = played.run.state.message
    assert message.startswith("step 'Train' failed: ConnectionError: no route; Training job ")
    assert message.endswith(
        "may have been created and could not be stopped (no route); check whether it runs"
    )
    assert played.steps["Train"].state == "Failed"


def test_retried_flow_run_repeats_only_failed_steps(
    server: None, backend: FakeBackend, records: ExecutionRecords
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import AwaitingRetry

    del server
    aws = backend.sagemaker
    aws.plans["Bad"] = Plan(("InProgress", "Failed"))
    pipeline = Pipeline(steps=(training("Good"), training("Bad")), name="again")
    flow = flow_of(write(pipeline)[0])
    state = flow(return_state=True)
    assert state.is_failed()
    del aws.plans["Bad"]
    with get_client(sync_client=True) as client:
        run_id = state.state_details.flow_run_id
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        again = client.read_flow_run(run_id)
    state = run_flow(flow, again, return_type="state")
    assert state.is_completed()
    names = [request["TrainingJobName"] for request in aws.called("create_training_job")]
    assert len([name for name in names if "Good" in name]) == 1
    assert len({name for name in names if "Bad" in name}) == 2
    (execution,) = records.ids()
    end = records.end(execution)
    assert end is not None
    assert end["status"] == "Succeeded"


def test_retried_execution_keeps_succeeded_steps(
    play: Run, aws: FakeSageMaker, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``executions retry`` starts another flow run, on another server."""
    aws.plans["Bad"] = Plan(("InProgress", "Failed"))
    steps = (training("Good"), training("Bad"), replace(training("Last"), depends_on=("Bad",)))
    final = replace(training("Final"), depends_on=(ended("Bad"),))
    flow = flow_of(write(Pipeline(steps=(*steps, final), name="retry"))[0])
    first = play(flow).id
    del aws.plans["Bad"]
    retry_execution(records, first)
    pipeline = read(records.definition(first)).pipeline
    assert set(records.steps(first)) == {"Good"}
    assert status(pipeline, records.steps(first)).status == "Executing"

    monkeypatch.setattr(
        "sagebridge_operators.prefect.opened_execution.given_execution", lambda run: first
    )
    assert play(flow).state.is_completed()

    assert records.ids() == [first]
    assert {one.state for one in records.steps(first).values()} == {"Succeeded"}
    names = [request["TrainingJobName"] for request in aws.called("create_training_job")]
    assert len(names) == len(set(names)) == 6
    assert (records.end(first) or {})["status"] == "Succeeded"


def test_internal_error_fails_the_execution_and_stops_jobs(
    run: Run, aws: FakeSageMaker, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))
    settle = FlowRun._settle

    def fail(flow: FlowRun, key: StepKey) -> None:
        settle(flow, key)
        if key.step == "Quick":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(FlowRun, "_settle", fail)
    played = run(training("Train"), model("Quick"))
    assert played.state.is_failed()
    assert len(aws.called("stop_training_job")) == 1
    (execution,) = records.ids()
    end = records.end(execution) or {}
    assert (end["status"], end["reason"]) == (
        "Failed",
        "OSError: [Errno 28] No space left on device",
    )


COUNTING = """
from prefect import flow
from sagebridge_operators.prefect import fail, finish, model, python

def count(path):
    with open(path, "a") as file:
        file.write("x")

@flow(name="counting")
def counting(path: str):
    counted = python("Counted", count, args=[path])
    model("Lost", arguments={"ExecutionRoleArn": "arn:aws:iam::111122223333:role/r"})
    fail("Bad", error_message="no", depends_on=[counted])
    return finish()
"""


def test_killed_flow_run_resumes(
    server: None,
    backend: FakeBackend,
    records: ExecutionRecords,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ended steps stay ended, a running job is found, and a stop request counts."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    del server
    flow, file = flow_of(COUNTING), tmp_path / "counted"
    state = flow(str(file), return_state=True)
    (execution,) = records.ids()
    before = records.steps(execution)
    monkeypatch.setenv(RESUMED, "1")

    def go_on(phase: Phase) -> Any:
        """Resumes a flow run that was killed when the step Lost was in ``phase``."""
        lost = replace(before["Lost"], phase=phase, end=None)
        (key,) = records.objects.keys(f"{execution}/steps/Lost/")
        records.objects.put(key, lost.as_json())
        records.objects.remove(f"{execution}/end.json")
        with get_client(sync_client=True) as client:
            run_id = state.state_details.flow_run_id
            client.set_flow_run_state(run_id, Pending(), force=True)
            again = client.read_flow_run(run_id)
        return run_flow(flow, again, parameters={"path": str(file)}, return_type="state")

    assert go_on("created").message == "no"
    assert file.read_text() == "x"
    assert len(backend.sagemaker.called("create_model")) == 1
    after = records.steps(execution)
    assert {name: after[name] for name in ("Counted", "Bad")} == {
        name: before[name] for name in ("Counted", "Bad")
    }
    assert after["Lost"].outputs == before["Lost"].outputs

    records.request_stop(execution)
    backend.sagemaker.jobs.clear()
    assert go_on("planned").name == "Stopped"
    assert records.steps(execution)["Lost"].state == "Stopped"
    assert len(backend.sagemaker.called("create_model")) == 1


def test_cancelled_flow_run_stops_its_jobs(
    server: None, backend: FakeBackend, records: ExecutionRecords
) -> None:
    """As the runner does it: the flow's process has ended; another process calls the hook."""
    from sagebridge_operators.prefect import stop_jobs
    from sagebridge_operators.prefect.opened_execution import OpenedExecution

    del server
    aws = backend.sagemaker
    aws.plans |= {step: Plan(("InProgress",)) for step in ("Train", "Lost")}
    flow = SimpleNamespace(name="f")
    flow_run = SimpleNamespace(id="r", job_variables={}, deployment_id=None)
    execution_ = execution_id("prefect", "f", "r")
    execution = Execution(execution_, "f", "prefect", "f/r", datetime.now(UTC), {})
    scene = OpenedExecution(execution, {}, {"Train": {}, "Lost": {}, "Done": {}}, again=False)
    for step in ("Train", "Lost"):
        name = job_name(execution_, 0, step, 0)
        aws.create_training_job(**thaw(training(step).arguments), TrainingJobName=name)
        begun = replace(attempt_of(execution_, step, "Training"), parts=(Part(name),))
        scene.records.save(replace(begun, phase="created") if step == "Train" else begun)
    scene.records.save(attempt_of(execution_, "Done", "Model", "Succeeded"))
    ending = Ending(scene.records, execution_, lambda attempt: backend)
    ending.record_interruption("Stopped", INTERRUPTED)
    stop_jobs(flow, flow_run, None)
    assert len(aws.called("stop_training_job")) == 2
    statuses = {name: one.state for name, one in records.steps(execution_).items()}
    assert statuses == {"Train": "Stopped", "Lost": "Stopped", "Done": "Succeeded"}
    end = records.end(execution_)
    assert end is not None
    assert (end["status"], end["reason"]) == ("Stopped", "the flow run was cancelled")


def test_stop_request_ends_the_flow_run(
    run: Run, aws: FakeSageMaker, records: ExecutionRecords
) -> None:
    aws.plans["Train"] = Plan(("InProgress",))

    def ask() -> None:
        (execution,) = records.ids()
        records.request_stop(execution)

    aws.after["create_training_job"].append(ask)
    played = run(training("Train"), model("After", after=("Train",)))
    assert played.states == {"Train": "Stopped", "After": "NotRun"}
    assert played.run.state.name == "Stopped"
    assert len(aws.called("stop_training_job")) == 1


def test_interrupted_flow_stops_its_jobs(
    server: None, backend: FakeBackend, records: ExecutionRecords
) -> None:
    del server
    aws = backend.sagemaker
    aws.plans["Train"] = Plan(("InProgress",))
    aws.after["create_training_job"].append(
        lambda: threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    )
    flow = flow_of(write(Pipeline(steps=(training("Train"),), name="interrupted"))[0])
    with pytest.raises(KeyboardInterrupt):
        flow()
    assert len(aws.called("stop_training_job")) == 1
    (execution,) = records.ids()
    end = records.end(execution)
    assert end is not None
    assert end["status"] == "Stopped"
    assert records.steps(execution)["Train"].state == "Stopped"


def test_time_limit_of_a_flow_stops_its_jobs(
    server: None, backend: FakeBackend, records: ExecutionRecords
) -> None:
    del server
    aws = backend.sagemaker
    aws.plans["Train"] = Plan(("InProgress",))
    flow = flow_of(write(Pipeline(steps=(training("Train"),), name="limited"))[0])

    state = flow.with_options(timeout_seconds=4)(return_state=True)

    assert state.name == "TimedOut"
    assert len(aws.called("stop_training_job")) == 1
    (execution,) = records.ids()
    assert records.steps(execution)["Train"].state == "Stopped"
    assert (records.end(execution) or {})["status"] == "Stopped"


def test_flow_without_return_finish_fails(play: Run, backend: FakeBackend) -> None:
    text = write(Pipeline(steps=(fail("Stop", "no"),), name="lost return"))[0]
    for lost in (text.replace("return finish()", "finish()"), text.replace("return finish()", "")):
        played = play(flow_of(lost))
        assert played.run.state.name == "Failed"
    assert "return finish()" in played.run.state.message
    assert not backend.sagemaker.calls


def test_flow_that_returns_something_else_fails_with_its_step(
    play: Run, backend: FakeBackend
) -> None:
    del backend
    text = write(Pipeline(steps=(fail("Stop", "no"),), name="goes on"))[0]
    played = play(flow_of(text.replace("return finish()", "finish()\n    return 'done'")))
    assert played.run.state.name == "Failed"
    assert played.run.state.message == "no"


@pytest.mark.parametrize("taken", [True, False])
def test_plain_if_runs_the_condition_first(taken: bool, play: Run, backend: FakeBackend) -> None:
    text = f'''
from prefect import flow
from sagebridge_operators.prefect import condition, equals, finish, model

ARGUMENTS = {{"ExecutionRoleArn": "{ROLE}", "PrimaryContainer": {{"Image": "i"}}}}

@flow(name="plain-if-{taken}")
def plain():
    before = model("Before", arguments=ARGUMENTS)
    check = condition("Check", conditions=[equals("{taken}", "True")], depends_on=[before])
    if check:
        model("Yes", arguments=ARGUMENTS)
    else:
        model("No", arguments=ARGUMENTS)
    model("After", arguments={{**ARGUMENTS, "ModelName": before.properties.ModelName}})
    return finish()
'''
    played = play(flow_of(text))
    assert played.state.is_completed(), played.messages
    assert set(played.states) == {"Before", "Check", "Yes" if taken else "No", "After"}
    assert len(backend.sagemaker.called("create_model")) == 3


def test_step_outside_a_flow_is_rejected() -> None:
    from sagebridge.errors import UsageError
    from sagebridge_operators.prefect import processing

    with pytest.raises(UsageError, match="@flow"):
        processing("A")


def test_dependency_cycle_is_rejected(run: Run, aws: FakeSageMaker) -> None:
    played: FinishedRun = run(model("A", after=("B",)), model("B", after=("A",)))
    assert "the steps have a dependency cycle" in played.run.state.message
    assert not aws.calls
