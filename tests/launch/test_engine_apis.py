"""Clients of the engines' APIs."""

from __future__ import annotations

import json
from base64 import b64encode

import httpx
import pytest

from sagebridge.errors import ServiceError
from sagebridge_operators.launch.engine_apis import AirflowApi, Login, PrefectApi


def airflow(status: int, requests: list[str] | None = None) -> AirflowApi:
    """An Airflow that answers requests to trigger a run with this status."""

    def answer(request: httpx.Request) -> httpx.Response:
        if requests is not None:
            requests.append(request.url.path)
        token = request.url.path == "/auth/token"
        return httpx.Response(200 if token else status, json={"access_token": "t", "detail": "why"})

    api = AirflowApi("http://airflow", Login("admin", "pw"))
    api._http = httpx.Client(base_url=api.url, transport=httpx.MockTransport(answer))
    return api


def test_login_is_sent() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"access_token": "t", "state": {}})

    login, transport = Login("admin", "pw"), httpx.MockTransport(answer)
    airflow, prefect = AirflowApi("http://a", login), PrefectApi("http://p", login)
    airflow._http._transport = prefect._http._transport = transport
    airflow.run_state("dag", "run")
    prefect.run_state("run")

    token, dag_run, flow_run = requests
    assert (token.method, token.url.path) == ("POST", "/auth/token")
    assert json.loads(token.content) == {"username": "admin", "password": "pw"}
    assert dag_run.headers["authorization"] == "Bearer t"
    assert flow_run.headers["authorization"] == f"Basic {b64encode(b'admin:pw').decode()}"


def test_conflict_means_run_was_triggered() -> None:
    requests: list[str] = []
    airflow(409, requests).trigger("dag", "run", {})
    assert requests.count("/api/v2/dags/dag/dagRuns") == 1


def test_rejected_run() -> None:
    with pytest.raises(ServiceError, match=r"rejected POST /api/v2/dags/dag/dagRuns: 400 why"):
        airflow(400).trigger("dag", "run", {})
