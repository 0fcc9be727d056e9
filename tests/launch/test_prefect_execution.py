"""An execution on Prefect: its flow run and the process of the flow."""

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

    def reset_run(self, run: str, message: str) -> None:
        self.end_run(run, "PENDING", message)

    def end_run(self, run: str, type_: str, message: str) -> None:
        del run
        self.state = {"type": type_, "name": type_.title(), "message": message}

    def log(self, name: str) -> str:
        return f"the log of the {name}\nImportError: no such thing\n"


@pytest.fixture
def execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrefectExecution:
    """A started execution with two steps."""
    monkeypatch.setattr(engine_versions, "version", lambda name: "3")
    workdir = Workdir("local", tmp_path, tmp_path, str(tmp_path / "executions"))
    vars(workdir)["backend"] = FakeBackend()
    flow = Flow.generated(Pipeline(steps=(model("One"), model("Two")), name="p"))
    execution = PrefectExecution(flow, {}, workdir)
    execution._server = Server(tmp_path)  # type: ignore[assignment]
    execution.trigger()
    return execution


def server(execution: PrefectExecution) -> Any:
    return execution.server


def test_generated_flow_runs_in_server_home_with_limit(
    execution: PrefectExecution, tmp_path: Path
) -> None:
    added = server(execution).added["flow"]

    assert execution.id == execution_id("prefect", "p", "run-of-p")
    assert added["command"][-2:] == ("prefect.engine", "run-of-p")
    assert added["execution"] == execution.id
    assert added["folder"] == tmp_path
    assert added["variables"] == {
        "PREFECT__FLOW_ENTRYPOINT": f"{tmp_path}/flow.py:p",
        "SAGEBRIDGE_EXECUTION": f"run-of-p={execution.id}",
        LIMIT: "16",
    }
    assert "def p(" in (tmp_path / "flow.py").read_text()


def test_flow_file_runs_in_current_folder_without_limit(
    execution: PrefectExecution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Flow("mine", "main", (), Pipeline(steps=(model("One"),)), file=tmp_path / "own.py")
    execution.flow = own

    execution.trigger()

    added = server(execution).added["flow"]
    assert added["folder"] == tmp_path
    assert added["variables"] == {
        "PREFECT__FLOW_ENTRYPOINT": f"{tmp_path}/own.py:main",
        "SAGEBRIDGE_EXECUTION": f"run-of-mine={execution.id}",
    }


@pytest.mark.parametrize("type_", ["CANCELLING", "CANCELLED"])
def test_cancelled_run_requests_stop(execution: PrefectExecution, type_: str) -> None:
    assert not execution.running()
    assert not execution.workdir.records.stop_requested(execution.id)

    server(execution).state["type"] = type_
    execution.running()

    assert execution.workdir.records.stop_requested(execution.id)


def test_record_exists_before_flow_start(
    execution: PrefectExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is needed to report the failed start."""

    def fail(*given: Any, **more: Any) -> Server:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "add", fail)
    execution.workdir.records.objects.remove(f"{execution.id}/execution.json")

    with pytest.raises(KeyboardInterrupt):
        execution.trigger()

    assert execution.workdir.records.execution(execution.id)


KILLED = "the flow's process was killed by SIGKILL"


def test_killed_flow_process_is_restarted_twice(
    execution: PrefectExecution,
) -> None:
    messages: list[str] = []
    execution.report = messages.append
    first = server(execution).added["flow"]
    server(execution).exit_code = 137

    assert execution.running()
    again = server(execution).added["flow"]
    assert again["variables"] == {**first["variables"], RESUMED: "1"}
    assert {**again, "variables": first["variables"]} == first
    assert server(execution).state["type"] == "PENDING"
    assert execution.running()
    assert not execution.running()

    assert messages == [
        f"{KILLED}; restarted (1 of 2)",
        f"{KILLED}, 2 times in total; restarted (2 of 2)",
    ]
    assert execution.finish() == ("Failed", f"{KILLED}, 3 times in total")


@pytest.mark.parametrize("reason", ["exit code", "stop requested", "ended", "failed"])
def test_flow_process_is_not_restarted_otherwise(execution: PrefectExecution, reason: str) -> None:
    server(execution).exit_code = 1 if reason == "exit code" else 137
    if reason == "stop requested":
        execution.workdir.records.request_stop(execution.id)
    elif reason == "ended":
        execution.ending.record_interruption("Stopped", "it was stopped")
    elif reason == "failed":
        server(execution).state["type"] = "FAILED"

    assert not execution.running()


@pytest.mark.parametrize(
    ("exit_code", "state", "reason"),
    [
        (137, "RUNNING", "the flow's process was killed by SIGKILL"),
        (255, "RUNNING", "the flow's process ended before its steps: ImportError: no such"),
        (1, "PENDING", "the flow's process ended before its steps: ImportError: no such thing"),
        (1, "FAILED", "Flow run encountered an exception: ValueError: x"),
    ],
)
def test_early_end_of_flow_closes_steps_and_run(
    execution: PrefectExecution, exit_code: int, state: str, reason: str
) -> None:
    execution.workdir.records.save(attempt_of(execution.id, "One", "Condition"))
    server(execution).exit_code = exit_code
    message = "Flow run encountered an exception: ValueError: x" if state == "FAILED" else None
    server(execution).state = {"type": state, "name": state.title(), "message": message}

    found = execution.finish()

    assert found.status == "Failed"
    assert found.reason.startswith(reason)
    assert execution.workdir.records.steps(execution.id)["One"].state == "Stopped"
    assert server(execution).state["type"] in ("CRASHED", "FAILED")


def test_end_recorded_by_flow_is_kept(execution: PrefectExecution) -> None:
    execution.ending.record_interruption("Succeeded", "")

    assert execution.finish() == ("Succeeded", "")
