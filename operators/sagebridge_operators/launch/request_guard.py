"""An ASGI middleware that lets only a private engine's own pages and local clients use it.

A server on loopback is reachable by every web page in the user's browser. This module imports
nothing of an engine: Airflow loads it in a plugin, and it wraps Prefect's app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_LINK = {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}
"""What browsers send when a link is opened in a tab, but not for frames, scripts and forms."""


class RequestGuard:
    """Rejects requests of other web pages: 403, or a closed websocket.

    - ``Host`` must be the engine's own. After DNS rebinding, a page reaches the engine under the
      page's name.
    - ``Origin`` must be the engine's own, if it is sent.
    - ``Sec-Fetch-Site``, which only browsers send, must not be another page's, except that any page
      may link to the UI.

    Args:
        app: the app of the engine.
        origin: the address of the engine, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, app: App, origin: str) -> None:
        self._app = app
        self._origin = origin.encode()
        self._host = self._origin.partition(b"://")[2]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._allows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "another origin"})
        else:
            headers = [(b"content-type", b"text/plain"), (b"x-content-type-options", b"nosniff")]
            text = b"This server only answers requests of its own pages. Open %s\n" % self._origin
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": text})

    def _allows(self, scope: Message) -> bool:
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        found = dict(headers)
        if [value for name, value in headers if name == b"host"] != [self._host]:
            return False
        if any(name == b"origin" and value != self._origin for name, value in headers):
            return False
        if found.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
            return True
        is_link = all(found.get(name) == value for name, value in _LINK.items())
        return is_link and scope.get("method") == "GET"


# An ASGI middleware for Airflow on SQLite: requests that write are handled one after another.
#
# Airflow writes its audit log in the event loop (``log_action`` in
# airflow/api_fastapi/logging/decorators.py). SQLite lets only one transaction write. If another
# request has written, its commit needs the event loop, and the event loop waits for its commit:
# until SQLite's timeout of 5 seconds ends, nothing else writes. Both requests then answer 500, and
# the scheduler ends with "database is locked". Airflow loads this module in a plugin.
_READS = ("GET", "HEAD", "OPTIONS")


class WriteTurns:
    """Lets one request at a time write.

    Args:
        app: the app of the engine.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return
        async with self._turn:
            await self._app(scope, receive, send)
