"""Sixty values on each way into Prefect: a wrong one starts no job, right ones reach the request.

Prefect's form checks its values with ``ui/schemas/validate`` and sends them to the same API.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx
import pytest

from sagebridge.formats.prefect.writer import write
from tests.fakes import FakeBackend
from tests.parameter_values import PIPELINE, RIGHT, WRONG, FakeLambda, is_sent
from tests.prefect.conftest import Run, flow_of

pytestmark = pytest.mark.prefect


def arguments(values: dict[str, Any]) -> dict[str, Any]:
    """The values by the flow's arguments."""
    return {name.replace("-", "_"): value for name, value in values.items()}


@cache
def thirty() -> Any:
    text, losses = write(PIPELINE)
    assert losses == ()
    return flow_of(text)


@pytest.fixture
def sent(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The payloads that the step sends."""
    client = FakeLambda()
    monkeypatch.setattr(FakeBackend, "client", lambda *_: client)
    return client.payloads


def test_right_values_reach_the_request(play: Run, sent: list[Any]) -> None:
    assert play(thirty(), arguments(RIGHT)).state.name == "Completed"
    (payload,) = sent
    assert is_sent(payload)


def test_api_and_form_reject_each_wrong_value(server: None) -> None:
    from prefect.client.orchestration import get_client

    flow = thirty()
    schema = flow.parameters.model_dump()
    with get_client(sync_client=True) as client:
        url = str(client.api_url).rstrip("/")
        deployment = client.create_deployment(
            client.create_flow(flow), name="thirty", parameter_openapi_schema=schema
        )

    def checked(**changed: Any) -> tuple[int, bool]:
        values = arguments({**RIGHT, **changed})
        run, form = (
            httpx.post(f"{url}/{path}", json=body, timeout=60, trust_env=False)
            for path, body in (
                (f"deployments/{deployment}/create_flow_run", {"parameters": values}),
                ("ui/schemas/validate", {"schema": schema, "values": values}),
            )
        )
        return run.status_code, form.json()["valid"]

    found = {name: checked(**{name: value}) for name, value in WRONG.items()}
    assert {name: answer for name, answer in found.items() if answer != (409, False)} == {}
    assert checked() == (201, True)


def test_run_with_a_wrong_value_starts_no_job(play: Run, sent: list[Any]) -> None:
    """As a call in Python, a schedule and an automation start it: no schema is checked before."""
    from prefect.exceptions import ParameterTypeError

    accepted = []
    for name, value in WRONG.items():
        given = arguments({**RIGHT, name: value})
        try:
            thirty().validate_parameters(given)
        except ParameterTypeError:
            continue
        accepted.append(name)
        run = play(thirty(), given)
        assert run.state.name == "Failed", name
        assert f"parameter {name!r} is {value!r}, expected" in run.state.message
    assert accepted == ["Ahead", "Flag", "Tiny", "Half", "Yes", "No", "Agreed"]
    assert sent == []
