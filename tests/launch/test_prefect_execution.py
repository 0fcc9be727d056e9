"""What an execution on Prefect makes of its flow run and of the process that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.backends import RESUMED
from sagebridge_operators.launch import engine_versions
from sagebridge_operators.launch.prefect_execution import PrefectExecution
from sagebridge_operators.launch.prefect_flow import Flow
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.execution import execution_id
from tests.attempts import attempt_of
from tests.fakes import FakeBackend
from tests.shapes import model

LIMIT = "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS"


class Server:
    """A server whose one flow run is in ``state``; its process ended with ``exit_code``."""

    running = False
    title = "Prefect"

    def __init__(self, home: Path) -> None:
        self.home, self.api = home, self
        self.state = {"type": "RUNNING", "name": "Running", "message": None}
        self.exit_code = 0
        self.added: dict[str, Any] = {}

    def patiently(self, ask: Callable[[], Any], patience: float = 60) -> Any:
        del patience
        return ask()

    def create_run(self, flow: str, name: str, parameters: Any) -> str:
        del name, parameters
        return f"run-of-{flow}"

    def add(self, name: str, command: Any, **more: Any) -> Server:
        self.added[name] = {"command": command, **more}
        return self

    def run_state(self, run: str) -> dict[str, Any]:
        del run
        return dict(self.state)

    def wait_again(self, run: str, message: str) -> None:
        self.end_run(run, "PENDING", message)

    def end_run(self, run: str, type_: str, message: str) -> None:
        del run
        self.state = {"type": type_, "name": type_.title(), "message": message}

    def log(self, name: str) -> str:
        return f"the log of the {name}\nImportError: no such thing\n"


@pytest.fixture
def execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrefectExecution:
    """An execution of two steps, which has begun."""
    monkeypatch.setattr(engine_versions, "version", lambda name: "3")
    place = Workdir("local", tmp_path, tmp_path, str(tmp_path / "executions"))
    vars(place)["backend"] = FakeBackend()
    flow = Flow.written(Pipeline(steps=(model("One"), model("Two")), name="p"))
    execution = PrefectExecution(flow, {}, place)
    execution._server = Server(tmp_path)  # type: ignore[assignment]
    execution.trigger()
    return execution


def server(execution: PrefectExecution) -> Any:
    return execution.server


def test_a_written_flow_runs_in_the_servers_home_and_within_bounds(
    execution: PrefectExecution, tmp_path: Path
) -> None:
    added = server(execution).added["flow"]

    assert execution.id == execution_id("prefect", "p", "run-of-p")
    assert added["command"][-2:] == ("prefect.engine", "run-of-p")
    assert added["execution"] == execution.id
    assert added["folder"] == tmp_path
    assert added["variables"] == {"PREFECT__FLOW_ENTRYPOINT": f"{tmp_path}/flow.py:p", LIMIT: "16"}
    assert "def p(" in (tmp_path / "flow.py").read_text()


def test_a_persons_own_flow_runs_where_they_are_as_they_say(
    execution: PrefectExecution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Flow("mine", "main", (), Pipeline(steps=(model("One"),)), file=tmp_path / "own.py")
    execution.flow = own

    execution.trigger()

    added = server(execution).added["flow"]
    assert added["folder"] == tmp_path
    assert added["variables"] == {"PREFECT__FLOW_ENTRYPOINT": f"{tmp_path}/own.py:main"}


@pytest.mark.parametrize("type_", ["CANCELLING", "CANCELLED"])
def test_a_run_that_is_cancelled_is_asked_to_stop(execution: PrefectExecution, type_: str) -> None:
    assert not execution.running()
    assert not execution.place.records.stop_requested(execution.id)

    server(execution).state["type"] = type_
    execution.running()

    assert execution.place.records.stop_requested(execution.id)


def test_a_flow_that_cannot_be_started_has_a_record(
    execution: PrefectExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is to be told of it then is not there."""

    def refuse(*given: Any, **more: Any) -> Server:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "add", refuse)
    execution.place.records.objects.remove(f"{execution.id}/execution.json")

    with pytest.raises(KeyboardInterrupt):
        execution.trigger()

    assert execution.place.records.execution(execution.id)


KILLED = "the flow's process was killed by SIGKILL"


def test_a_flow_whose_process_is_killed_goes_on_in_another_but_not_for_ever(
    execution: PrefectExecution,
) -> None:
    told: list[str] = []
    execution.tell = told.append
    first = server(execution).added["flow"]
    server(execution).exit_code = 137

    assert execution.running()
    again = server(execution).added["flow"]
    assert again["variables"] == {**first["variables"], RESUMED: "1"}
    assert {**again, "variables": first["variables"]} == first
    assert server(execution).state["type"] == "PENDING"
    assert execution.running()
    assert not execution.running()

    assert told == [
        f"{KILLED}; another goes on (1 of 2)",
        f"{KILLED}, 2 times in all; another goes on (2 of 2)",
    ]
    assert execution.finish() == ("Failed", f"{KILLED}, 3 times in all")


@pytest.mark.parametrize("why", ["exit code", "stop asked", "ended", "failed"])
def test_a_flow_whose_process_has_ended_otherwise_does_not_go_on(
    execution: PrefectExecution, why: str
) -> None:
    server(execution).exit_code = 1 if why == "exit code" else 137
    if why == "stop asked":
        execution.place.records.request_stop(execution.id)
    elif why == "ended":
        execution.ending.record_interruption("Stopped", "it was stopped")
    elif why == "failed":
        server(execution).state["type"] = "FAILED"

    assert not execution.running()


@pytest.mark.parametrize(
    ("exit_code", "state", "reason"),
    [
        (137, "RUNNING", "the flow's process was killed by SIGKILL"),
        (255, "RUNNING", "the flow's process ended before its steps did: ImportError: no such"),
        (1, "PENDING", "the flow's process ended before its steps did: ImportError: no such thing"),
        (1, "FAILED", "Flow run encountered an exception: ValueError: x"),
    ],
)
def test_a_flow_that_ends_before_its_steps_leaves_nothing_open(
    execution: PrefectExecution, exit_code: int, state: str, reason: str
) -> None:
    execution.place.records.save(attempt_of(execution.id, "One", "Condition"))
    server(execution).exit_code = exit_code
    message = "Flow run encountered an exception: ValueError: x" if state == "FAILED" else None
    server(execution).state = {"type": state, "name": state.title(), "message": message}

    found = execution.finish()

    assert found.status == "Failed"
    assert found.reason.startswith(reason)
    assert execution.place.records.steps(execution.id)["One"].state == "Stopped"
    assert server(execution).state["type"] in ("CRASHED", "FAILED")


def test_the_end_that_a_flow_recorded_stays(execution: PrefectExecution) -> None:
    execution.ending.record_interruption("Succeeded", "")

    assert execution.finish() == ("Succeeded", "")
