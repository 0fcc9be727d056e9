"""Which requests reach the app of a private engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from sagebridge_operators.launch.request_guard import RequestGuard

OWN = "http://127.0.0.1:8080"
HOST = {"host": "127.0.0.1:8080"}
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def send(
    headers: Iterable[tuple[str, str]], kind: str = "http", method: str = "GET"
) -> list[dict[str, Any]]:
    """Send a request through the guard; return the answer's messages, [] if the app was called."""
    answer: list[dict[str, Any]] = []
    pairs = [(name.encode(), text.encode()) for name, text in headers]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.connect"}

    async def collect(message: Any) -> None:
        answer.append(dict(message))

    scope = {"type": kind, "method": method, "path": "/api", "headers": pairs}
    asyncio.run(RequestGuard(app, OWN)(scope, receive, collect))
    return answer


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a program
        {"origin": OWN, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "none"} | LINK,  # typed into the address bar
        {"sec-fetch-site": "cross-site"} | LINK,  # a link in another page
        {"sec-fetch-site": "same-site"} | LINK,
    ],
)
def test_own_requests_and_links_pass(headers: dict[str, str]) -> None:
    assert send((HOST | headers).items()) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},  # HTTP/1.0
        {"host": "evil.example:8080"},  # DNS rebinding
        {"host": "127.0.0.1:8081"},
        {"host": "127.0.0.1"},
        {"host": "localhost:8080"},
        HOST | {"origin": "http://127.0.0.1:8081"},
        HOST | {"origin": "https://127.0.0.1:8080"},
        HOST | {"origin": "https://evil.example"},
        HOST | {"origin": "null"},
        HOST | {"origin": "https://evil.example", "sec-fetch-site": "cross-site"} | LINK,
        HOST | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        HOST | {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        HOST | {"sec-fetch-site": "cross-site"} | LINK | {"sec-fetch-dest": "iframe"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_requests_of_other_pages_are_rejected(headers: dict[str, str], method: str) -> None:
    start, body = send(headers.items(), method=method)

    assert start["status"] == 403
    assert not any(b"access-control" in name for name, _ in start["headers"])
    assert body["body"].decode().endswith(f"Open {OWN}\n")


def test_form_of_another_page_is_rejected() -> None:
    headers = HOST | {"sec-fetch-site": "same-site"} | LINK

    assert send(headers.items(), method="GET") == []
    assert send(headers.items(), method="POST") != []


def test_second_host_header_is_rejected() -> None:
    assert send([("host", "127.0.0.1:8080"), ("host", "evil.example")]) != []


def test_websocket_of_another_page_is_closed() -> None:
    assert send(HOST.items(), "websocket") == []
    assert send((HOST | {"origin": OWN}).items(), "websocket") == []
    (answer,) = send((HOST | {"origin": "https://evil.example"}).items(), "websocket")
    assert answer["type"] == "websocket.close"


def test_start_and_stop_of_the_server_reach_the_app() -> None:
    assert send([], "lifespan") == []
