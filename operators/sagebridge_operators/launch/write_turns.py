"""An ASGI middleware for Airflow on SQLite: requests that write are handled one after another.

Airflow writes its audit log in the event loop (``log_action`` in
airflow/api_fastapi/logging/decorators.py). SQLite lets only one transaction write. If another
request has written, its commit needs the event loop, and the event loop waits for its commit: until
SQLite's timeout of 5 seconds ends, nothing else writes. Both requests then answer 500, and the
scheduler ends with "database is locked". Airflow loads this module in a plugin.
"""

from __future__ import annotations

import asyncio

from sagebridge_operators.launch.request_guard import App, Message, Receive, Send

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
