"""A threaded HTTP server on loopback for an application such as ``HttpApi``."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any, Protocol

from sagebridge_operators.backends.local.api import Answer, ApiError
from sagebridge_operators.backends.local.http_api import error_answer
from sagebridge_operators.backends.local.streams import chunks, part

IDLE_SECONDS = 60
"""How long a connection may wait for a request and its signature."""
_UNREAD = 1 << 20
"""Bytes of a rejected body that are read so that the client sees the response."""


class App(Protocol):
    """Answers requests."""

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: IO[bytes]
    ) -> Answer:
        """The response to a request; see ``HttpApi``."""


def serve(listener: socket.socket, app: App, is_over: Callable[[], bool]) -> None:
    """Answer the clients of an open port, each in a thread, until ``is_over``."""
    server = _Server(listener, app)
    while not is_over():
        server.handle_request()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, app: App) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.app = listener, app

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close the connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: _Server
    expects_continue = False

    def _answer(self) -> None:
        body = self._body()
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known},{value}"
        answer = self.server.app.answer(self.command, self.path, headers, body)
        if self.expects_continue or not _is_read(body):
            self.close_connection = True
        self._send(answer)

    def __getattr__(self, name: str) -> Any:
        """Answer all methods; the base class calls ``do_GET`` and so on."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _body(self) -> IO[bytes]:
        source: Any = _Incoming(self)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return chunks(source)
        length = self.headers.get("Content-Length", "")
        return part(source, int(length) if length.isdecimal() else 0)

    def handle_expect_100(self) -> bool:
        """Wait with this response until the application reads the body."""
        self.expects_continue = True
        return True

    def _send(self, answer: Answer) -> None:
        with answer.body:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers and answer.status not in (204, 304):
                self.send_header("Content-Length", "0")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            # The client may take its time with content for which it has the keys.
            self.connection.settimeout(None)
            shutil.copyfileobj(answer.body, self.wfile)
            self.connection.settimeout(self.timeout)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that is not valid HTTP; the base class would answer with HTML."""
        self.close_connection = True
        error = ApiError("InvalidRequest", message or explain or str(code), code)
        self._send(error_answer(error, "s3", self.command or "", {}))

    def version_string(self) -> str:
        return "sagebridge"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: presigned URLs are secret."""


class _Incoming:
    """What the client of a connection sends."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    def readinto(self, buffer: Any) -> int:
        return int(self._stream.readinto(buffer))

    def readline(self, limit: int) -> bytes:
        return bytes(self._stream.readline(limit))

    @property
    def _stream(self) -> Any:
        if self._handler.expects_continue:
            self._handler.expects_continue = False
            self._handler.send_response_only(HTTPStatus.CONTINUE)
            self._handler.end_headers()
        return self._handler.rfile


def _is_read(body: IO[bytes]) -> bool:
    """Read the rest of a body that the application did not want, if it is short."""
    try:
        return len(body.read(_UNREAD + 1)) <= _UNREAD
    except (ApiError, OSError):
        return False
