"""Both stacks of docker-compose.yml, started, used and stopped without Docker."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.stack import CHECKOUT, Stack
from tests.database import postgres_programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUN_TIMEOUT = 300.0
"""Seconds for a run of the example on a busy machine."""


@pytest.fixture
def new_stack() -> Iterator[Callable[[], Stack]]:
    """Returns a function that creates stacks; checks that no process is left at the end."""
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed: run apt install postgresql")
    if not (CHECKOUT / ".venvs" / "prefect").is_dir():
        pytest.skip("missing .venvs/prefect: run python3 tools/bootstrap.py prefect")
    stacks: list[Stack] = []

    def make() -> Stack:
        folder = Path(tempfile.mkdtemp(prefix="sagebridge-composed-"))
        folder.chmod(0o755)  # PostgreSQL runs as another user
        stacks.append(Stack(folder))
        return stacks[-1]

    try:
        yield make
    finally:
        for stack in stacks:
            stack.down()
            left = stack.leftovers()
            shutil.rmtree(stack.root)
            assert not left


def secret_files(stack: Stack) -> dict[str, Path]:
    """Return the files in the volumes of the secrets by ``volume/name``."""
    volumes = {
        mount.split(":")[0]
        for service in stack.services.values()
        for mount in service["volumes"]
        if ":/srv/secrets/" in mount
    }
    return {
        f"{volume}/{file.name}": file
        for volume in sorted(volumes)
        for file in stack.volume(volume).iterdir()
    }


def secrets_of(stack: Stack) -> dict[str, str]:
    return {name: file.read_text() for name, file in secret_files(stack).items()}


def login_of(stack: Stack, volume: str) -> tuple[str, str]:
    """Return user and password from the file that the documentation names."""
    user, _, password = (stack.volume(volume) / "login").read_text().partition(":")
    return user, password


def wait_for(condition: Callable[[], Any]) -> Any:
    """Call a function until its result is true, and return the result."""
    deadline = time.monotonic() + RUN_TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{condition.__name__}: {found}"
        time.sleep(0.5)
    return found


def run_on_airflow(stack: Stack) -> None:
    """Log in, trigger the DAG, and check that the run succeeds."""
    user, password = login_of(stack, "airflow-web")
    with httpx.Client(base_url=stack.url("airflow-api"), timeout=30, trust_env=False) as http:
        for wrong in ("admin", "airflow", ""):
            rejected = http.post("/auth/token", json={"username": user, "password": wrong})
            assert rejected.is_client_error
        assert http.get("/auth/token").is_client_error
        assert http.get("/api/v2/dags").status_code == httpx.codes.UNAUTHORIZED
        login = http.post("/auth/token", json={"username": user, "password": password})
        http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"

        dag = "/api/v2/dags/AbalonePipeline"
        wait_for(lambda: http.get(dag).is_success)
        assert http.get("/api/v2/importErrors").json()["total_entries"] == 0
        run = http.post(f"{dag}/dagRuns", json={"logical_date": None}).json()["dag_run_id"]

        def ended() -> str | None:
            state: str = http.get(f"{dag}/dagRuns/{run}").json()["state"]
            return state if state in {"success", "failed"} else None

        assert wait_for(ended) == "success"


def run_on_prefect(stack: Stack) -> None:
    """Run the deployment through the API with the password, and check that it completes."""
    login = ":".join(login_of(stack, "prefect-server"))
    api = f"{stack.url('prefect-server')}/api"
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as http:
        page = http.get(f"{stack.url('prefect-server')}/ui-settings").json()
        assert page["available_uis"]
        assert (page["auth"], page["api_url"]) == ("BASIC", api)
        deployment = "/deployments/name/AbalonePipeline/AbalonePipeline"
        assert http.get(deployment).status_code == httpx.codes.UNAUTHORIZED
        http.headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        found = http.get(deployment).json()["id"]
        run = http.post(f"/deployments/{found}/create_flow_run", json={}).json()["id"]

        def ended() -> str | None:
            state: str = http.get(f"/flow_runs/{run}").json()["state"]["type"]
            return state if state in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        assert wait_for(ended) == "COMPLETED"


def executions(stack: Stack, service: str) -> list[dict[str, str]]:
    listed = stack.run(service, "sagebridge", "executions", "list", "--format", "json")
    return list(json.loads(listed))


def test_stacks_run_the_example_and_see_each_others_runs(
    new_stack: Callable[[], Stack],
) -> None:
    stack = new_stack()
    image = sorted(file.name for file in (stack.root / "image").iterdir())

    stack.up("airflow")
    assert not [name for name in secret_files(stack) if name.startswith("prefect-")]
    run_on_airflow(stack)
    stack.down()
    assert not stack.leftovers()

    stack.up("prefect")
    run_on_prefect(stack)
    seen = executions(stack, "prefect-worker")
    assert seen == executions(stack, "airflow-scheduler")
    assert {(one["engine"], one["status"]) for one in seen} == {
        ("airflow", "Succeeded"),
        ("prefect", "Succeeded"),
    }
    states = [states_of_steps(stack, one["id"]) for one in seen]
    assert states[0] == states[1]
    # The isolation of /opt/ml that a container without privileges uses.
    assert "rewriting" in stack.run(
        "prefect-worker", "sagebridge", "executions", "logs", seen[0]["id"]
    )
    stack.down()
    assert not stack.leftovers()

    first = secrets_of(stack)
    stack.start("prefect-init")
    stack.finish("prefect-init")
    stack.start("airflow-migrate")  # the existing database accepts the existing password
    stack.finish("airflow-migrate")
    assert secrets_of(stack) == first
    assert sorted(file.name for file in (stack.root / "image").iterdir()) == image
    logs = "".join(file.read_text(errors="replace") for file in (stack.root / "logs").iterdir())
    assert "/login" in logs
    for name, secret in first.items():
        assert secret.rpartition(":")[2].strip() not in logs, name


def states_of_steps(stack: Stack, execution: str) -> dict[str, str]:
    shown = stack.run(
        "prefect-worker", "sagebridge", "executions", "show", execution, "--format", "json"
    )
    return {step["name"]: step["state"] for step in json.loads(shown)["steps"]}


def test_each_stack_generates_its_own_secrets(
    new_stack: Callable[[], Stack],
) -> None:
    one, other = new_stack(), new_stack()
    for stack in (one, other):
        for service in ("airflow-init", "prefect-init"):
            stack.start(service)
            stack.finish(service)
    first, second = secrets_of(one), secrets_of(other)
    assert set(first) == set(second)
    assert len(first) == 10
    for name, secret in first.items():
        assert secret != second[name]
        assert len(secret.rpartition(":")[2].strip()) >= 32, name
    for file in secret_files(one).values():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
