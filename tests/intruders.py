"""Requests of other web pages and other users to a private engine, for tests of both engines."""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from sagebridge_operators.launch.private_engine import PrivateEngine
from sagebridge_operators.launch.process_keeper import session_processes
from tests.other_user import as_other_user, readable_files

OTHER_PAGE = "http://127.0.0.1:9"
"""The origin of a page that another server on this machine serves."""
PREFLIGHT = {"access-control-request-method": "DELETE"}


def assert_other_pages_are_rejected(url: str, login: Mapping[str, str], run: str) -> None:
    """Neither another page nor a rebound name can read, change or delete the resource ``run``.

    ``login`` has the header of the owner, as if the other page knew it.
    """
    port = urlsplit(url).port
    pages: list[dict[str, str]] = [
        {"origin": OTHER_PAGE},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": f"evil.example:{port}"},
        {"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}"},
        {"host": f"localhost:{port}"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "origin": OTHER_PAGE},
    ]
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for page in pages:
            for method in ("GET", "POST", "PATCH", "DELETE"):
                answer = client.request(method, run, headers={**login, **page})
                assert answer.status_code == httpx.codes.FORBIDDEN, (method, page)
            answer = client.options(run, headers=PREFLIGHT | page)
            assert answer.status_code == httpx.codes.FORBIDDEN, page
            assert not any(name.startswith("access-control") for name in answer.headers)
        own = {"origin": url, "sec-fetch-site": "same-origin"}
        assert client.get(run, headers={**login, **own}).is_success


def assert_other_user_is_rejected(engine: PrivateEngine[Any], run: str, private: Path) -> None:
    """Another user of this machine can neither use the engine nor find its login.

    ``private`` has the engine's home; its parent is a folder that every user can enter.
    """
    visible = private.with_name("visible")
    visible.write_text("")
    keeper = engine._keeper
    assert keeper is not None
    processes = [Path(f"/proc/{one}") for one in session_processes(keeper.session)]
    assert processes
    parts = urlsplit(engine.url)
    default = {"authorization": f"Basic {b64encode(b'admin:admin').decode()}"}

    def ask() -> list[int]:
        statuses = []
        for method in ("GET", "PATCH", "DELETE"):
            for headers in ({}, default):
                connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
                connection.request(method, run, headers=headers)
                statuses.append(connection.getresponse().status)
        return statuses

    assert as_other_user(ask) == [httpx.codes.UNAUTHORIZED] * 6
    readable = as_other_user(lambda: readable_files(private.parent))
    assert str(visible) in readable
    assert not [file for file in readable if file.startswith(str(private))]
    assert as_other_user(lambda: [str(one) for one in processes if can_read(one / "environ")]) == []
    shown = as_other_user(lambda: [command_line(one) for one in processes])
    assert not any(engine.login.password in line for line in shown)


def can_read(file: Path) -> bool:
    try:
        return bool(file.read_bytes())
    except (PermissionError, FileNotFoundError, ProcessLookupError):  # or the process has ended
        return False


def command_line(process: Path) -> str:
    """What ``ps`` shows of a process; empty if it has ended."""
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
