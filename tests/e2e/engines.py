"""The engine of a run: its API and its processes."""

from __future__ import annotations

import re
from typing import Any

import httpx
import psutil

from sagebridge_operators.launch.engine_apis import Login
from tests.e2e.desk import ENGINE, RunningCommand, marked

TITLE = ENGINE.title()
SERVICE = {
    "airflow": ["scheduler", "--skip-serve-logs"],
    "prefect": ["-m", "sagebridge_operators.launch.prefect_server"],
}
"""Words in the command line of a process that the engine cannot run without."""


def page_of(running: RunningCommand) -> str:
    """The address of a run's page, with the printed login: ``http://user:password@host``."""
    ui = running.wait_for(rf"{TITLE} UI: (\S+)")
    password = running.wait_for(r"password (?:admin:)?(\S+)\)")
    return with_login(ui, Login("admin", password))


def with_login(url: str, login: Login) -> str:
    return url.replace("http://", f"http://{login.pair}@")


def run_parameters(ui: str) -> dict[str, Any]:
    """The parameters of the run with this page."""
    run = _run(ui)
    return dict(run["conf" if ENGINE == "airflow" else "parameters"])


def state(ui: str) -> str:
    """The state of the run, by the engine's name."""
    run = _run(ui)
    return str(run["state"] if ENGINE == "airflow" else run["state"]["name"])


def tasks(ui: str) -> dict[str, str]:
    """The state of each task of the run with this page, by the engine's names."""
    if ENGINE == "airflow":
        _, dag, run = _parts(ui)
        with airflow_api(ui) as api:
            found = api.get(f"/dags/{dag}/dagRuns/{run}/taskInstances").raise_for_status().json()
        return {one["task_id"]: one["state"] for one in found["task_instances"]}
    base, _, run = _parts(ui)
    wanted = {"flow_runs": {"id": {"any_": [run]}}}
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as client:
        answer = client.post("/api/task_runs/filter", json=wanted).raise_for_status()
    last = sorted(answer.json(), key=lambda one: str(one["created"]))
    assert all(one["end_time"] for one in last), last
    return {one["name"]: one["state"]["name"] for one in last}


def worker(ui: str, task: str, mark: str) -> psutil.Process:
    """The process of a task; on Prefect that of the whole flow run."""
    _, dag, run = _parts(ui)
    if ENGINE == "airflow":
        with airflow_api(ui) as api:
            found = api.get(f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}").raise_for_status()
        return psutil.Process(found.json()["pid"])
    return next(one for one in marked(mark) if one.cmdline()[-2:] == ["prefect.engine", run])


def page(ui: str) -> str:
    """The HTML of a page."""
    accept = {"Accept": "text/html"}
    return httpx.get(ui, headers=accept, timeout=30, trust_env=False).raise_for_status().text


def service(mark: str) -> psutil.Process:
    """A process of a run that its engine cannot run without."""
    words = SERVICE[ENGINE]
    return next(
        process
        for process in marked(mark)
        if any(process.cmdline()[at : at + len(words)] == words for at in range(9))
        and "sagebridge_operators.launch.process_keeper" not in process.cmdline()
    )


def airflow_api(url: str) -> httpx.Client:
    """A client for the REST API of the Airflow with this address, which has the login."""
    page = httpx.URL(url)
    base = f"http://{page.netloc.decode()}"
    body = {"username": page.username, "password": page.password}
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as stranger:
        token = stranger.post("/auth/token", json=body).json()["access_token"]
    return httpx.Client(
        base_url=f"{base}/api/v2",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        trust_env=False,
    )


def _run(ui: str) -> dict[str, Any]:
    base, dag, run = _parts(ui)
    if ENGINE == "airflow":
        with airflow_api(ui) as api:
            return dict(api.get(f"/dags/{dag}/dagRuns/{run}").raise_for_status().json())
    answer = httpx.get(f"{base}/api/flow_runs/{run}", timeout=30, trust_env=False)
    return dict(answer.raise_for_status().json())


def _parts(ui: str) -> tuple[str, str, str]:
    """Server, DAG and run in the address of a page."""
    server = r"http://[\w:-]+@127\.0\.0\.1:\d+"
    page = r"dags/(.+)/runs|login\?redirect=/runs/flow-run"
    found = re.fullmatch(rf"({server})/(?:{page})/(.+)", ui)
    assert found, ui
    return found[1], found[2] or "", found[3]
