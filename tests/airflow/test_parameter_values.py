"""Sixty values on each way into Airflow: a wrong one creates no run, right ones reach the request.

Airflow's trigger form sends its values to the same API, "" as null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.airflow.conftest import Run
from tests.dagtest import migrated, new_id, store
from tests.fakes import FakeBackend
from tests.parameter_values import PIPELINE, RIGHT, WRONG, FakeLambda, is_sent, text

pytestmark = pytest.mark.airflow


@pytest.fixture
def sent(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The payloads that the step sends."""
    client = FakeLambda()
    monkeypatch.setattr(FakeBackend, "client", lambda *_: client)
    return client.payloads


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    """Airflow's API in this process, with a login."""
    from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    migrated()
    purge_cached_app()
    app = create_app(apps="core")
    user = SimpleAuthManagerUser(username="admin", role="ADMIN")
    login = {"Authorization": f"Bearer {get_auth_manager().generate_jwt(user)}"}
    with TestClient(app, headers=login, base_url="http://testserver/api/v2/dags/") as client:
        yield client
    purge_cached_app()


def test_right_values_reach_the_request(run: Run, sent: list[Any]) -> None:
    assert run(PIPELINE, conf=RIGHT).state == "success"
    (payload,) = sent
    assert is_sent(payload)


def test_schedule_or_event_with_a_wrong_value_starts_no_run() -> None:
    """The values of both, as strings or in the declared types, go through this function."""
    from sagebridge_operators.airflow import StartPipelineOperator, build
    from sagebridge_operators.airflow._compat import AirflowFailException

    start = StartPipelineOperator(task_id="start", pipeline=build(PIPELINE, dag_id=new_id()))
    assert is_sent(start.conf(RIGHT))
    assert is_sent(start.conf({name: text(value) for name, value in RIGHT.items()}))
    for name, value in WRONG.items():
        for wrong in (value, text(value)):
            with pytest.raises(AirflowFailException, match=f"parameter {name!r} is "):
                start.conf({**RIGHT, name: wrong})


def test_api_rejects_each_wrong_value(api: Any) -> None:
    from sagebridge_operators.airflow import build

    dag = build(PIPELINE, dag_id=new_id())
    store(dag)

    def status(**changed: Any) -> int:
        body = {"logical_date": None, "conf": {**RIGHT, **changed}}
        return int(api.post(f"{dag.dag_id}/dagRuns", json=body).status_code)

    accepted = {name for name, value in WRONG.items() if status(**{name: value}) != 400}
    assert accepted == set()
    assert api.get(f"{dag.dag_id}/dagRuns").json()["total_entries"] == 0
    assert status() == status(Empty=None) == 200
