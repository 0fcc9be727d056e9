"""Where jobs run: ``aws`` (boto3) or ``local`` (this machine, no account, no Docker)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sagebridge.errors import UsageError
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.objects import open_objects
from sagebridge_operators.lifecycle.records import ExecutionRecords

NAMES = ("aws", "local")
RESUMED = "SAGEBRIDGE_RESUMED"
"""The variable of a process that goes on with what another, which was killed, had begun."""
_VARIABLES: ContextVar[Mapping[str, str]] = ContextVar("sagebridge_variables", default=os.environ)


@contextmanager
def variables(more: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that hold within, and not for what else this process does."""
    token = _VARIABLES.set({**_VARIABLES.get(), **more})
    try:
        yield
    finally:
        _VARIABLES.reset(token)


def _variable(name: str, default: str) -> str:
    return _VARIABLES.get().get(name, default)


def resumed() -> bool:
    return bool(_variable(RESUMED, ""))


def default_name() -> str:
    """The backend that SAGEBRIDGE_BACKEND names, else aws."""
    return _variable("SAGEBRIDGE_BACKEND", "aws")


def home() -> Path:
    """The local backend's folder: SAGEBRIDGE_HOME, else ``.sagebridge`` below this one."""
    return Path(_variable("SAGEBRIDGE_HOME", ".sagebridge")).absolute()


def base() -> Path:
    """The folder that relative plain paths are taken from: SAGEBRIDGE_BASE, else this one."""
    return Path(_variable("SAGEBRIDGE_BASE", ".")).absolute()


def records_location() -> str:
    """Where execution records lie: SAGEBRIDGE_RECORDS, else below the local backend's folder."""
    return _variable("SAGEBRIDGE_RECORDS", str(home() / "executions"))


def open_records(backend: Backend) -> ExecutionRecords:
    """The records that the environment names."""
    return ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))


def open_backend(name: str | None = None) -> Backend:
    """The backend of that name with the environment's settings and credentials."""
    name = name or default_name()
    if name == "local":
        from sagebridge_operators.backends.local import LocalBackend

        return LocalBackend(home(), base())
    if name == "aws":
        from sagebridge_operators.backends.aws import AwsBackend

        return AwsBackend()
    raise UsageError(f"unknown backend {name!r} (there are {', '.join(NAMES)})")
