"""The middleware that lets one request at a time write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagebridge_operators.launch.request_guard import WriteTurns


async def _never(*_: Any) -> Any:
    raise AssertionError


def most_at_a_time(*methods: str, kind: str = "http") -> int:
    """Send requests at once; return how many were in the app at the same time."""
    inside = [0, 0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        inside[0] += 1
        inside[1] = max(inside)
        await asyncio.sleep(0)
        inside[0] -= 1
        if scope["path"] == "/fails":
            raise ValueError

    async def send_all() -> None:
        turns = WriteTurns(app)
        await asyncio.gather(
            *(
                turns({"type": kind, "method": method, "path": path}, _never, _never)
                for path in ("/fails", "/passes")
                for method in methods
            ),
            return_exceptions=True,
        )

    asyncio.run(send_all())
    return inside[1]


@pytest.mark.parametrize("methods", [("POST",) * 4, ("PATCH", "PUT", "DELETE", "POST")])
def test_writes_take_turns(methods: tuple[str, ...]) -> None:
    assert most_at_a_time(*methods) == 1


def test_reads_do_not_wait() -> None:
    assert most_at_a_time("GET", "GET", "POST") == 5
    assert most_at_a_time("", kind="lifespan") == 2
