"""Start of a private Prefect server, and its failures."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sagebridge.errors import ServiceError
from sagebridge_operators.launch import prefect_engine, private_engine
from sagebridge_operators.launch.prefect_engine import PREFECT, PrefectServer
from sagebridge_operators.launch.process_keeper import session_processes
from tests.e2e.desk import eventually

pytestmark = pytest.mark.prefect


@pytest.fixture
def server(tmp_path: Path) -> PrefectServer:
    return PrefectServer(tmp_path / "prefect" / "one", variables={"SAGEBRIDGE_HOME": "/there"})


def failing(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"import sys; sys.exit({text!r})"


def test_start_on_free_port_with_added_processes(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = private_engine.free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports: list[int] = [taken.getsockname()[1], free()]
        logins = []

        def next_port() -> int:
            logins.append(server.login)
            return ports.pop(0)

        monkeypatch.setattr(private_engine, "free_port", next_port)

        with server:
            assert ports == []
            # The process that has taken the first port may know the first login.
            assert server.login not in logins
            assert len(set(logins)) == 2
            made = server.add("pool", (*PREFECT, "work-pool", "create", "p", "--type", "process"))
            worker = server.add("worker", (*PREFECT, "worker", "start", "--pool", "p"))
            eventually(lambda: not made.running)
            assert made.exit_code == 0, server.log("pool")
            eventually(lambda: "started!" in server.log("worker"), 120)
    assert not server.running
    assert session_processes(worker.session) == []
    assert [path.name for path in server.home.iterdir()] == ["logs"]
    (database,) = server.home.parent.glob("prefect-*.db")
    with closing(sqlite3.connect(database)) as copy:
        # The copy was taken before anything was created on the server.
        assert copy.execute("select name from work_pool").fetchall() == []
        assert copy.execute("select count(*) from alembic_version").fetchall() == [(1,)]


def test_environment_excludes_own_prefect_settings(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_PROFILE", "work")
    monkeypatch.setenv("PREFECT_HOME", "/users/prefect")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("NO_PROXY", "intra.example")

    made = server.make_environment(4321)

    assert "PREFECT_API_KEY" not in made
    assert "PREFECT_PROFILE" not in made
    assert "PYTHONDONTWRITEBYTECODE" not in made
    assert made["PREFECT_HOME"] == str(tmp_path / "prefect" / "one")
    assert made["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert made["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4321/api"
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert made["PREFECT_SERVER_API_AUTH_STRING"] == server.login.pair
    assert made["PREFECT_API_AUTH_STRING"] == server.login.pair
    assert made["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4321"
    assert made["AWS_PROFILE"] == "mine"
    assert made["SAGEBRIDGE_HOME"] == "/there"
    assert made["NO_PROXY"] == "intra.example,127.0.0.1,localhost"
    assert "secret" not in os.pathsep.join(made.values())


def test_server_exit_shows_log_tail(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_engine, "SERVER", failing("the disk is on fire"))

    with (
        pytest.raises(ServiceError, match="the disk is on fire"),
        server,
    ):
        pass
    assert (server.home / "logs" / "server.log").exists()


def test_server_start_timeout(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    monkeypatch.setattr(prefect_engine, "SERVER", command)
    monkeypatch.setattr(PrefectServer, "starts_within", 0.5)

    with pytest.raises(ServiceError, match="Prefect is not ready"), server:
        pass
    assert not server.running
