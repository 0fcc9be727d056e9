"""A port on loopback, served by a thread once the first client connects."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

# The address and not the name: boto3 then has the bucket in the path ("path-style").
HOST = "127.0.0.1"


@contextmanager
def listen(
    serve: Callable[[socket.socket, Callable[[], bool]], object], port: int = 0
) -> Iterator[str]:
    """Open a port while the block runs; yields its address, ``http://127.0.0.1:PORT``.

    It is ``port`` if that is free, otherwise another one.

    ``serve`` is called in a thread, with the open port and a function that returns whether the
    block has ended. It must ask this after each connection; the last one is only made to wake it
    up. Modules that it imports do not delay the block. Raises OSError if no port can be opened.
    """
    is_over = Event()
    with _bound(port) as listener:

        def wait() -> None:
            select.select([listener], [], [])
            if not is_over.is_set():
                serve(listener, is_over.is_set)

        thread = Thread(target=wait, name="aws-endpoint", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            is_over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=128)
    except OSError:
        return socket.create_server((HOST, 0), backlog=128)
