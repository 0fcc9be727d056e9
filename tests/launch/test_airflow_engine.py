"""Start of a private Airflow, and its failures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.errors import ServiceError
from sagebridge_operators.launch import airflow_home, private_engine
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.engine_versions import version_of
from sagebridge_operators.launch.process_keeper import session_processes

pytestmark = pytest.mark.airflow

NOTHING = {"Name": "Nothing", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}


@pytest.fixture
def private(tmp_path: Path) -> PrivateAirflow:
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": [NOTHING]}, name="p").pipeline
    return PrivateAirflow(
        tmp_path / "airflow",
        pipeline,
        dag_id="p",
        run_id="p-1",
        execution="0" * 12,
        parallelism=2,
        variables={},
    )


@pytest.fixture
def no_database(private: PrivateAirflow) -> None:
    """Skip the database migration, which takes seconds."""
    folder = private.home.parent
    folder.mkdir()
    (folder / f"airflow-{version_of('airflow')}.db").touch()


def failing(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"import sys; sys.exit({text!r})"


@pytest.mark.slow
@pytest.mark.airflow31
def test_port_taken_before_start(private: PrivateAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    free = private_engine.free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1], free()]
        monkeypatch.setattr(private_engine, "free_port", lambda: ports.pop(0))

        with private:
            assert private.running
            assert ports == []
            assert private.ui.endswith("/dags/p/runs/p-1")
    assert not private.running


@pytest.mark.slow
def test_dag_import_error(private: PrivateAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        airflow_home, "_LOADER", "# airflow dag\nraise RuntimeError('no such luck')\n"
    )

    with pytest.raises(ServiceError, match="no such luck"), private:
        pass
    assert not private.running


def test_airflow_exit_shows_log_tail(
    private: PrivateAirflow, no_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_home, "AIRFLOW", failing("the disk is on fire"))

    with pytest.raises(ServiceError, match="the disk is on fire") as raised, private:
        pass
    # One component that exits ends the others, perhaps before they have written anything.
    logs = [str(log) for log in (private.home / "logs").glob("*.log")]
    assert [log for log in logs if log in str(raised.value)], logs


def test_airflow_start_timeout(
    private: PrivateAirflow, no_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        airflow_home, "AIRFLOW", (sys.executable, "-c", "import time; time.sleep(60)")
    )
    monkeypatch.setattr(PrivateAirflow, "starts_within", 0.5)

    with pytest.raises(ServiceError, match="not ready"), private:
        pass
    assert private._keeper is not None
    assert session_processes(private._keeper.session) == []


def test_database_migration_failure(
    private: PrivateAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_home, "AIRFLOW", failing("no sqlite here"))

    with pytest.raises(ServiceError, match="no sqlite here"), private:
        pass
    assert not list(private.home.parent.glob("airflow-*.db"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [
                {"event": "Task failed", "level": "error",
                 "error_detail": [{"exc_type": "ValueError", "exc_value": "bad"}]},
                {"event": "done", "level": "info"},
            ],
            "ValueError: bad",
        ),
        ([{"event": "cannot parse", "level": "error"}], "cannot parse"),
        ([{"event": "started", "level": "info"}], "its worker was lost"),
    ],
)  # fmt: skip
def test_task_failure_reason_from_log(
    private: PrivateAirflow, lines: list[dict[str, object]], expected: str
) -> None:
    log = private.home / "logs" / "dag_id=p" / "run_id=p-1" / "task_id=Nothing" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert private.failure("Nothing").startswith(expected)


@pytest.mark.parametrize("deferrable", ["True", "False"])
def test_triggerer_runs_if_tasks_are_deferred(
    deferrable: str, private: PrivateAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", deferrable)
    monkeypatch.setenv("AIRFLOW__OPERATORS__OTHER", "removed")
    assert ("triggerer" in private.commands(0)) == (deferrable == "True")
    environment = private.make_environment(0)
    assert environment["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] == deferrable
    assert "AIRFLOW__OPERATORS__OTHER" not in environment


@pytest.mark.usefixtures("no_database")
def test_interrupt_during_the_start_leaves_no_process(
    private: PrivateAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = (sys.executable, "-c", "import time; time.sleep(60)")
    monkeypatch.setattr(private, "commands", lambda port: {"sleep": sleep})
    popen, started = subprocess.Popen, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        started.append(process.pid)
        os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt), private:
        pass
    (keeper,) = started
    assert session_processes(keeper) == []
