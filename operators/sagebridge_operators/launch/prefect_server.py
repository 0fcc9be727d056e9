"""The process of a private Prefect server: ``python -m ...prefect_server PORT``.

Like ``prefect server start``, but behind a :class:`RequestGuard`: Prefect has no setting for the
allowed hosts.
"""

from __future__ import annotations

import sys

import uvicorn
from prefect.server.api.server import create_app

from sagebridge_operators.launch.request_guard import RequestGuard


def main(port: int) -> None:
    """Serve the API and the UI on loopback. Exits with 1 if the port is in use."""
    origin = f"http://127.0.0.1:{port}"
    config = uvicorn.Config(
        lambda: RequestGuard(create_app(final=True), origin),
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
    )
    # Take the port first: creating the app takes seconds.
    with config.bind_socket() as listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
