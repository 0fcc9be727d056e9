"""Who may use a private Prefect server: its owner, not other users and not other web pages."""

from __future__ import annotations

import asyncio
import json
import stat
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from sagebridge_operators.launch.prefect_engine import PrefectServer
from sagebridge_operators.launch.private_engine import LOGIN_FILE
from tests.intruders import (
    OTHER_PAGE,
    assert_other_pages_are_rejected,
    assert_other_user_is_rejected,
)
from tests.other_user import IS_ROOT

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def run(server: PrefectServer) -> str:
    """The path of a flow run with parameters."""
    return f"/api/flow_runs/{server.api.create_run('private', 'private-1', {'Token': 'secret'})}"


def test_requests_without_login_are_rejected(server: PrefectServer, run: str) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for path in (run, "/api/admin/settings", "/api/csrf-token?client=x"):
            assert client.get(path).status_code == httpx.codes.UNAUTHORIZED
        assert client.get(run, auth=("admin", "admin")).status_code == httpx.codes.UNAUTHORIZED
        assert client.get("/ui-settings").json()["auth"] == "BASIC"


def test_requests_of_other_pages_are_rejected(
    server: PrefectServer, api: httpx.Client, run: str
) -> None:
    login = {"authorization": f"Basic {b64encode(server.login.pair.encode()).decode()}"}

    assert_other_pages_are_rejected(server.url, login, run)

    assert api.get(f"{server.url}{run}").json()["parameters"] == {"Token": "secret"}


def test_websocket_of_another_page_is_rejected(server: PrefectServer) -> None:
    async def open_socket(origin: Origin | None) -> None:
        address = f"{server.api_url.replace('http', 'ws')}/events/out"
        async with connect(
            address, origin=origin, subprotocols=[Subprotocol("prefect")], proxy=None
        ):
            pass

    asyncio.run(open_socket(None))
    with pytest.raises(InvalidStatus):
        asyncio.run(open_socket(Origin(OTHER_PAGE)))


def test_login_file_is_private(server: PrefectServer) -> None:
    file = server.home / LOGIN_FILE

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {server.login.user: server.login.password}


if IS_ROOT:

    def test_other_user_of_the_machine_is_rejected(
        server: PrefectServer, run: str, shared: Path
    ) -> None:
        assert_other_user_is_rejected(server, run, shared / "prefect")
