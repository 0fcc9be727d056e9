"""Which tasks are deferred, what their triggers contain, and what a kill of a trigger does."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Parallelism, Pipeline, Step
from sagebridge_operators.airflow import StepOperator, TrainingOperator, build
from sagebridge_operators.airflow.deferral import deferring
from sagebridge_operators.airflow.deferral.trigger import JobTrigger
from sagebridge_operators.run_errors import StepStopped
from tests.fakes import FakeBackend, Plan
from tests.lifecycle.conftest import ARGUMENTS

STARTED = datetime(2026, 11, 21, tzinfo=UTC)
JOB = "pipelines-0123456789ab-Train-0123456789ab-0"
CONNECTION = {
    "aws_conn_id": "team",
    "region_name": None,
    "verify": None,
    "botocore_config": {"read_timeout": 90},
}


def operators(count: int = 1, limit: int | None = None, **arguments: Any) -> list[StepOperator]:
    """The operators of a pipeline of independent Training steps on AWS."""
    steps = tuple(
        Step(f"Train{number}", "Training", arguments=plain(ARGUMENTS["Training"]))
        for number in range(count)
    )
    more: dict[str, Any] = {} if limit is None else {"parallelism": Parallelism(limit)}
    given = {"deferrable": True, "backend": "aws", **arguments}
    dag: Any = build(Pipeline(steps=steps, name="p", **more), **given)
    return list(dag.tasks)


def event(status: str, **more: Any) -> dict[str, Any]:
    ids = {"execution": "0123456789ab", "job": JOB}
    return {**ids, "status": status, "code": "", "looks": 3, "seconds": 90, **more}


def test_job_on_aws_is_deferred() -> None:
    (operator,) = operators()
    assert deferring.defers(operator)
    assert not deferring.defers(operators(deferrable=False)[0])
    assert not deferring.defers(operators(backend="local")[0])


def test_default_comes_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    (operator,) = operators(deferrable=None)
    assert not deferring.defers(operator)
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert deferring.defers(operator)


@pytest.mark.parametrize(
    ("count", "limit", "pool", "deferred"),
    [
        (5, None, "default_pool", True),
        (5, 2, "default_pool", False),
        (5, 5, "default_pool", True),
        (5, 2, "two_jobs", True),
    ],
)
def test_parallelism_limit_is_kept(
    count: int, limit: int | None, pool: str, deferred: bool
) -> None:
    found = operators(count, limit, pool=pool)
    assert [deferring.defers(one) for one in found] == [deferred] * count


def test_botocore_config_with_a_password_is_not_stored() -> None:
    proxies = {"https": "http://user:secret@proxy:8080"}
    assert not deferring.defers(operators(botocore_config={"proxies": proxies})[0])
    proxies = {"https": "http://proxy:8080"}
    assert deferring.defers(operators(botocore_config={"proxies": proxies})[0])


def test_trigger_contains_ids_and_times_only(make: Any, backend: FakeBackend) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    backend.sagemaker.plans["Train"] = Plan(("InProgress",))
    (operator,) = operators(
        aws_conn_id="team",
        botocore_config={"read_timeout": 90},
        execution_timeout=timedelta(hours=2),
    )
    with pytest.raises(TaskDeferred) as deferred:
        deferring.run(make(), operator, _context(), {})
    assert deferred.value.method_name == "resume"
    assert deferred.value.timeout is None
    path, arguments = deferred.value.trigger.serialize()
    (name,) = backend.sagemaker.jobs
    assert json.loads(json.dumps(arguments)) == {
        "execution": "0123456789ab",
        "type": "Training",
        "job": name,
        "deadline": arguments["deadline"],
        "not_before": "",
        "time_limit": "2026-11-21T02:00:00+00:00",
        "connection": CONNECTION,
    }
    assert path == f"{JobTrigger.__module__}.JobTrigger"
    assert JobTrigger(**arguments).serialize() == (path, arguments)


def test_time_limit_stops_the_job(make: Any, backend: FakeBackend, record: Any) -> None:
    backend.sagemaker.plans["Train"] = Plan(("InProgress",))
    make().run(defer=True)
    (operator,) = operators(execution_timeout=timedelta(hours=2))
    with pytest.raises(StepStopped, match=r"execution_timeout=2:00:00"):
        deferring.run(make(resumes=True), operator, _context(), event("time-limit"))
    assert len(backend.sagemaker.called("stop_training_job")) == 1
    assert record().reason.startswith("stopped by the task's time limit")


def test_time_limit_keeps_the_outputs_of_a_finished_job(make: Any, backend: FakeBackend) -> None:
    make().run(defer=True)
    (operator,) = operators(execution_timeout=timedelta(hours=2))
    outputs = deferring.run(make(resumes=True), operator, _context(), event("time-limit"))
    assert outputs["status"] == "Completed"
    assert not backend.sagemaker.called("stop_training_job")


def test_worker_waits_if_the_triggerer_cannot_look(make: Any, backend: FakeBackend) -> None:
    backend.sagemaker.plans["Train"] = Plan(("InProgress", "InProgress", "Completed"))
    make().run(defer=True)
    (operator,) = operators()
    outputs = deferring.run(
        make(resumes=True), operator, _context(), event("error", code="AccessDenied")
    )
    assert outputs["status"] == "Completed"


@pytest.mark.parametrize(
    ("state", "stops"),
    [
        ("failed", 1),
        ("success", 1),
        ("skipped", 1),
        ("removed", 1),
        ("restarting", 1),
        (None, 1),
        ("gone", 1),
        ("deferred", 0),
        ("scheduled", 0),
        ("queued", 0),
        ("running", 0),
        ("up_for_retry", 0),
    ],
)
def test_killed_trigger_stops_the_job_of_an_ended_task(
    state: str | None, stops: int, monkeypatch: pytest.MonkeyPatch, killed: FakeBackend
) -> None:
    states = {} if state == "gone" else {"run": {"train": state}}
    _kill(monkeypatch, [states])
    assert len(killed.sagemaker.called("stop_training_job")) == stops


def test_kill_asks_again_after_an_error(
    monkeypatch: pytest.MonkeyPatch, killed: FakeBackend
) -> None:
    _kill(monkeypatch, [OSError("no answer"), {"run": {"train": "failed"}}])
    assert len(killed.sagemaker.called("stop_training_job")) == 1


def test_trigger_that_waits_has_no_job_to_stop(
    monkeypatch: pytest.MonkeyPatch, killed: FakeBackend
) -> None:
    _kill(monkeypatch, [{}], job="")
    assert not killed.sagemaker.calls


def test_wait_under_a_policy_ends_at_its_time() -> None:
    waiting = _trigger(job="", not_before=datetime.now(UTC).isoformat())

    async def first() -> Any:
        return await anext(waiting.run())

    assert asyncio.run(first()).payload == {
        "execution": "0123456789ab",
        "job": "",
        "status": "due",
        "seconds": 0,
    }


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """The backend of a trigger, with its job."""
    from sagebridge_operators.airflow.deferral import poller, trigger

    backend = FakeBackend()
    backend.sagemaker.create_training_job(TrainingJobName=JOB, **ARGUMENTS["Training"])
    backend.sagemaker.calls.clear()
    monkeypatch.setattr(poller, "backend_of", lambda connection: backend)
    monkeypatch.setattr(trigger, "_PAUSE", 0.0)
    return backend


def _trigger(**more: Any) -> JobTrigger:
    given = {
        "execution": "0123456789ab",
        "type": "Training",
        "job": JOB,
        "deadline": "2026-11-22T00:00:00+00:00",
        "not_before": "",
        "time_limit": "",
        "connection": CONNECTION,
    }
    return JobTrigger(**{**given, **more})


def _kill(monkeypatch: pytest.MonkeyPatch, answers: list[Any], **more: Any) -> None:
    """Kills a trigger. Airflow gives these answers to its questions about task states."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def states(**asked: Any) -> Any:
        assert asked == {"dag_id": "d", "run_ids": ["run"], "task_ids": ["train"], "map_index": -1}
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))
    killed = _trigger(**more)
    instance: Any = SimpleNamespace(dag_id="d", run_id="run", task_id="train", map_index=-1)
    killed._task_instance = instance
    asyncio.run(killed.on_kill())


def _context() -> Any:
    return {"ti": SimpleNamespace(start_date=STARTED)}


def test_every_job_operator_has_the_argument() -> None:
    operator = TrainingOperator(task_id="train", deferrable=True)
    assert operator.deferrable is True
