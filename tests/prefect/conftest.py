"""Writes pipelines as flow files and runs them in Prefect against the fake SageMaker."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sagebridge.formats.prefect.writer import write
from sagebridge.model.pipeline import Parallelism, Pipeline, Step
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.fakes import FakeBackend, FakeSageMaker

os.environ |= {
    "PREFECT_HOME": (_HOME := tempfile.mkdtemp(prefix="sagebridge-prefect-")),
    "PREFECT_LOCAL_STORAGE_PATH": f"{_HOME}/storage",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A flow run that has ended; ``states`` and ``messages`` of its task runs, by name."""

    state: Any
    states: Mapping[str, str]
    messages: Mapping[str, str]
    run: Any
    records: ExecutionRecords

    @property
    def id(self) -> str:
        return execution_id("prefect", self.flow, str(self.run.id))

    @property
    def flow(self) -> str:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return str(client.read_flow(self.run.flow_id).name)

    @property
    def steps(self) -> dict[str, Attempt]:
        return self.records.steps(self.id)


Run = Callable[..., FinishedRun]


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """A Prefect server for the test session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutionRecords:
    folder = tmp_path / "executions"
    monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(folder))
    return ExecutionRecords(Folder(folder))


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, records: ExecutionRecords) -> FakeBackend:
    """The backend of every step of the test."""
    from sagebridge_operators.prefect import flow_backends

    fake = FakeBackend()
    monkeypatch.setattr(flow_backends, "open_backend", lambda name: fake)
    monkeypatch.setenv("SAGEBRIDGE_BACKEND", "fake")
    return fake


@pytest.fixture
def aws(backend: FakeBackend) -> FakeSageMaker:
    return backend.sagemaker


def flow_of(text: str) -> Any:
    """The flow in the source of a flow file."""
    from prefect import Flow

    names: dict[str, Any] = {"__name__": f"written_{next(_NUMBERS)}"}
    exec(compile(text, "generated.py", "exec"), names)
    (flow,) = {id(found): found for found in names.values() if isinstance(found, Flow)}.values()
    return flow


def settled(read: Callable[[], list[Any]], least: int, patience: float = 30.0) -> list[Any]:
    """Waits for all task runs of a flow run; the server receives them asynchronously."""
    deadline, before = time.monotonic() + patience, None
    while True:
        tasks = read()
        ended = all(task.state is not None and task.state.is_final() for task in tasks)
        all_there = ended and len(tasks) == before and len(tasks) >= least
        if all_there or time.monotonic() > deadline:
            return tasks
        before = len(tasks)
        time.sleep(0.2)


@pytest.fixture
def play(server: None, records: ExecutionRecords, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a flow; returns its state and those of its tasks."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    from sagebridge_operators.prefect.flow_run import FlowRun
    from sagebridge_operators.prefect.step_keys import StepKey

    del server
    submitted: list[StepKey] = []
    submit = FlowRun._submit

    def counted(flow: FlowRun, key: StepKey, *more: Any) -> None:
        submitted.append(key)
        submit(flow, key, *more)

    monkeypatch.setattr(FlowRun, "_submit", counted)

    def plays(flow: Any, parameters: Mapping[str, Any] | None = None) -> FinishedRun:
        submitted.clear()
        state = flow(**(parameters or {}), return_state=True)
        run_id = state.state_details.flow_run_id
        with get_client(sync_client=True) as client:
            of_run = FlowRunFilter(id={"any_": [run_id]})
            tasks = settled(
                lambda: client.read_task_runs(flow_run_filter=of_run), len(set(submitted))
            )
            run = client.read_flow_run(run_id)
        return FinishedRun(
            state,
            {task.name: task.state.name for task in tasks},
            {task.name: task.state.message for task in tasks},
            run,
            records,
        )

    return plays


@pytest.fixture
def run(play: Run, backend: FakeBackend) -> Run:
    """Writes the flow file of steps and runs it."""
    del backend

    def runs(
        *steps: Step, given: Mapping[str, Any] | None = None, limit: int = 0, **more: Any
    ) -> FinishedRun:
        if limit:
            more["parallelism"] = Parallelism(limit)
        pipeline = Pipeline(steps=steps, name=f"shape {next(_NUMBERS)}", **more)
        return play(flow_of(write(pipeline)[0]), given)

    return runs
