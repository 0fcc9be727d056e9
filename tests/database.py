"""PostgreSQL and Redis of the distribution, as processes on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sagebridge_operators.launch.private_engine import free_port

_STARTS_WITHIN = 60.0
USER = DATABASE = PASSWORD = "airflow"


def postgres_programs() -> Path | None:
    """Return the program folder of the distribution's PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    there = found[-1] if found else shutil.which("postgres")
    return Path(there).parent if there else None


def postgres_command(
    data: Path, environment: Mapping[str, str], *, user: str, database: str, password: str
) -> list[str]:
    """Create a database in ``data`` if it is missing. Return the command of its server.

    ``environment`` has PATH with PostgreSQL's programs, and PGPORT for the server.
    """
    become: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(data, "postgres", "postgres")
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data_option = ["-D", str(data)]
    if not (data / "PG_VERSION").exists():
        allowed = ["--auth-local=trust", "--auth-host=scram-sha-256"]
        statements = f"ALTER USER {user} PASSWORD '{password}'\nCREATE DATABASE {database}\n"
        for command, text in (
            (["initdb", *data_option, "-U", user, "-E", "UTF8", *allowed], ""),
            (["postgres", "--single", *data_option, "template1"], statements),
        ):
            subprocess.run(
                [*become, *command],
                cwd="/",
                env=environment,
                input=text,
                text=True,
                check=True,
                capture_output=True,
            )
    return [*become, "postgres", *data_option, "-c", "unix_socket_directories="]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a new PostgreSQL; yields the SQLAlchemy address of its database.

    Other users must be able to enter ``folder`` and its parents.
    """
    programs, port = postgres_programs(), free_port()
    assert programs is not None
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "PGPORT": str(port)}
    command = postgres_command(data, environment, user=USER, database=DATABASE, password=PASSWORD)
    ready = [str(programs / "pg_isready"), "--host=127.0.0.1", "--quiet"]
    with _running(
        [*command, "-c", "fsync=off"],
        environment,
        lambda: subprocess.run(ready, env=environment, check=False).returncode == 0,
    ):
        yield f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that stores nothing on disk; yields its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _running(command, os.environ, lambda: _answers(port)):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], is_ready: Callable[[], bool]
) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd="/", env=environment, stdout=quiet, stderr=quiet)
    until = time.monotonic() + _STARTS_WITHIN
    try:
        while not is_ready():
            assert process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < until, f"{command[0]} did not start"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
