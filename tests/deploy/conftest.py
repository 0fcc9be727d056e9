"""A Prefect server with a worker for the test session, and projects deployed to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from sagebridge_operators.launch.prefect_engine import PREFECT, PrefectServer
from tests.other_user import shared_folder

collect_ignore_glob = [] if find_spec("prefect") else ["test_*.py"]
POOL = "sagebridge"
WORKER = (*PREFECT, "worker", "start", "--pool", POOL, "--type", "process")


@dataclass(frozen=True, slots=True)
class Project:
    """The folder where commands run, and the server they use."""

    folder: Path
    server: PrefectServer
    api: httpx.Client

    def run(
        self, *words: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.server.environment() | dict(env or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def deploy(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "sagebridge.cli", "deploy", *words, "--on", "prefect", **how)

    def deployed(self, *words: str, **how: Any) -> list[dict[str, Any]]:
        """Deploy, and return the JSON output."""
        done = self.deploy(*words, "--format", "json", **how)
        outcomes: list[dict[str, Any]] = json.loads(done.stdout)
        return outcomes

    def deployment(self, flow: str, name: str | None = None) -> dict[str, Any]:
        """The deployment on the server, without fields that change when workers poll."""
        (found,) = self.api.post(
            "deployments/filter",
            json={
                "flows": {"name": {"any_": [flow]}},
                "deployments": {"name": {"any_": [name or flow]}},
            },
        ).json()
        return {key: value for key, value in found.items() if key not in ("last_polled", "status")}

    def names(self) -> list[str]:
        found = self.api.post("deployments/filter", json={}).json()
        return sorted(one["name"] for one in found)


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """A folder that every user can enter."""
    with shared_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def server(shared: Path) -> Iterator[PrefectServer]:
    home = shared / "prefect" / "server"
    variables = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with PrefectServer(home, variables=variables) as server:
        yield server


@pytest.fixture(scope="session")
def api(server: PrefectServer) -> Iterator[httpx.Client]:
    login = (server.login.user, server.login.password)
    url = f"{server.api_url}/"
    with httpx.Client(base_url=url, auth=login, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def worker(server: PrefectServer) -> None:
    """A worker for the default work pool of ``deploy``."""
    server.add("worker", WORKER)


@pytest.fixture
def project(tmp_path: Path, server: PrefectServer, api: httpx.Client) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, server, api)
