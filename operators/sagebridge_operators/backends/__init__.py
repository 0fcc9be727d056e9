"""Where jobs run: ``aws`` (boto3) or ``local`` (this machine, no account, no Docker)."""

from __future__ import annotations

import os
from pathlib import Path

from sagebridge.errors import UsageError
from sagebridge_operators.lifecycle.backend import Backend

NAMES = ("aws", "local")


def default_name() -> str:
    """The backend that SAGEBRIDGE_BACKEND names, else aws."""
    return os.environ.get("SAGEBRIDGE_BACKEND", "aws")


def home() -> Path:
    """The local backend's folder: SAGEBRIDGE_HOME, else ``.sagebridge`` below this one."""
    return Path(os.environ.get("SAGEBRIDGE_HOME", ".sagebridge")).absolute()


def base() -> Path:
    """The folder that relative plain paths are taken from: SAGEBRIDGE_BASE, else this one."""
    return Path(os.environ.get("SAGEBRIDGE_BASE", ".")).absolute()


def records_location() -> str:
    """Where execution records lie: SAGEBRIDGE_RECORDS, else below the local backend's folder."""
    return os.environ.get("SAGEBRIDGE_RECORDS", str(home() / "executions"))


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
