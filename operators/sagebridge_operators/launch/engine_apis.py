"""Clients for the public REST APIs of Airflow and Prefect."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import httpx

from sagebridge.errors import ServiceError


# The login of a private engine.
@dataclass(frozen=True, slots=True)
class Login:
    """User and password of a private engine's only user."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def random(cls) -> Self:
        return cls("admin", secrets.token_urlsafe(24))

    @property
    def pair(self) -> str:
        """``user:password``, the form of HTTP basic authentication."""
        return f"{self.user}:{self.password}"

    def write(self, file: Path) -> None:
        """Write ``{"user": "password"}``, readable only by this user: Airflow's passwords file."""
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump({self.user: self.password}, stream)


# Prefect answers 503 while its SQLite database is locked (prefect/server/api/server.py).
_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class Busy(Exception):
    """The engine is busy; send the request again."""


NO_ANSWER = (httpx.TransportError, Busy)


class Api:
    """A client of the engine at ``url``; ``timeout`` in seconds.

    Requests raise ServiceError if the engine rejects them, and one of :data:`NO_ANSWER` if it is
    unreachable or busy.
    """

    title: ClassVar[str]

    def __init__(self, url: str, login: Login, timeout: float = 30) -> None:
        self.url, self.login = url, login
        # trust_env=False: no proxy for requests to loopback.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def is_guarded(self) -> bool:
        """Whether the engine rejects a request with another host name."""
        answer = self._http.get("/", headers={"Host": "sagebridge.invalid"})
        return answer.status_code == httpx.codes.FORBIDDEN

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._content(self._send(method, path, body), f"{method} {path}")

    def _content(self, answer: httpx.Response, request: str) -> Any:
        if answer.status_code in _BUSY:
            raise Busy(f"{answer.status_code} {answer.reason_phrase}")
        if answer.is_error:
            raise ServiceError(f"{self.title} rejected {request}: {_detail(answer)}")
        return answer.json()

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return self._http.request(method, path, json=body)


class AirflowApi(Api):
    """Airflow's API, version 2 (Airflow 3.1 and later)."""

    title = "Airflow"

    def prepare_for_workers(self) -> None:
        """Let Airflow build the API of its workers, which takes seconds.

        It does so at the first request (``_cadwyn_initialize`` in cadwyn/applications.py), in the
        event loop: the request of a task can time out, and SQLite stays locked if another request
        has written.
        """
        self._send("GET", "/execution/health")

    def scheduler_is_healthy(self) -> bool:
        health = self._request("GET", "/api/v2/monitor/health")
        return bool(health["scheduler"]["status"] == "healthy")

    def dag_file(self, dag: str) -> str | None:
        """The file of a DAG; None until the DAG processor has parsed it."""
        answer = self._send("GET", f"/api/v2/dags/{dag}")
        return str(answer.json()["fileloc"]) if answer.is_success else None

    def import_errors(self) -> list[str]:
        """The stack traces of DAG files that cannot be imported."""
        answer = self._request("GET", "/api/v2/importErrors")
        return [str(error["stack_trace"]) for error in answer["import_errors"]]

    def trigger(self, dag: str, run: str, conf: Mapping[str, Any]) -> None:
        """Start a run. A conflict means that an earlier request succeeded."""
        body = {"dag_run_id": run, "logical_date": None, "conf": conf}
        path = f"/api/v2/dags/{dag}/dagRuns"
        answer = self._send("POST", path, body)
        if answer.status_code != httpx.codes.CONFLICT:
            self._content(answer, f"POST {path}")

    def run_state(self, dag: str, run: str) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._request("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])

    def fail_run(self, dag: str, run: str, note: str) -> None:
        body = {"state": "failed", "note": note}
        self._request("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}", body)

    def task_instances(self, dag: str, run: str) -> dict[tuple[str, int], dict[str, Any]]:
        """The ``state``, ``start_date``, ``end_date`` and so on of each task and map index.

        The index is -1 if the task is not mapped.
        """
        found: dict[tuple[str, int], dict[str, Any]] = {}
        while True:
            page = self._request(
                "GET",
                f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances?limit=100&offset={len(found)}",
            )
            found |= {(one["task_id"], one["map_index"]): one for one in page["task_instances"]}
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._authorize()
        answer = super()._send(method, path, body)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._authorize()
            answer = super()._send(method, path, body)
        return answer

    def _authorize(self) -> None:
        body = {"username": self.login.user, "password": self.login.password}
        answer = self._http.post("/auth/token", json=body)
        if answer.is_error:
            raise ServiceError(f"Airflow at {self.url} issued no token: {_detail(answer)}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


class PrefectApi(Api):
    """Prefect 3's API."""

    title = "Prefect"

    def __init__(self, url: str, login: Login, timeout: float = 30) -> None:
        super().__init__(url, login, timeout)
        self._http.auth = (login.user, login.password)

    def home(self) -> str:
        """The server's PREFECT_HOME."""
        return str(self._request("GET", "/api/admin/settings")["home"])

    def create_run(self, flow: str, name: str, parameters: Mapping[str, Any]) -> str:
        """Create a flow run without starting it, once per name; return its id."""
        flow_id = self._request("POST", "/api/flows/", {"name": flow})["id"]
        body = {
            "flow_id": flow_id,
            "name": name,
            "parameters": parameters,
            "idempotency_key": name,
        }
        return str(self._request("POST", "/api/flow_runs/", body)["id"])

    def run_state(self, run: str) -> dict[str, Any]:
        """``type`` (such as ``RUNNING`` or ``COMPLETED``), ``name`` and ``message``."""
        return dict(self._request("GET", f"/api/flow_runs/{run}")["state"])

    def end_run(self, run: str, type_: str, message: str) -> None:
        """Force a flow run into a final state."""
        self._set_state(f"/api/flow_runs/{run}", type_, message)

    def reset_run(self, run: str, message: str) -> None:
        """Make a flow run pending for another process; its open task runs become crashed."""
        for task in self._open_tasks(run):
            self._set_state(f"/api/task_runs/{task}", "CRASHED", message)
        self._set_state(f"/api/flow_runs/{run}", "PENDING", message)

    def _open_tasks(self, run: str) -> list[str]:
        wanted = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
        }
        return [str(task["id"]) for task in self._request("POST", "/api/task_runs/filter", wanted)]

    def _set_state(self, path: str, type_: str, message: str) -> None:
        state = {"type": type_, "name": type_.title(), "message": message}
        self._request("POST", f"{path}/set_state", {"state": state, "force": True})


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    detail = cast("Any", body).get("detail", body) if isinstance(body, dict) else body
    return f"{answer.status_code} {detail}"
