"""Errors that sagebridge's own programs report from inside a job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Invalid data, model or hyperparameters; ``status`` is the HTTP status for a request."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


def base() -> Path:
    """The job's /opt/ml, or its replacement if the isolation method has no mounts."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def data_files(folder: Path) -> list[Path]:
    """The files below a folder that have data, in the order of their names; or the one file."""
    return [
        path
        for path in ([folder] if folder.is_file() else sorted(folder.rglob("*")))
        if path.is_file() and path.stat().st_size and not path.name.startswith((".", "_"))
    ]


def report(work: Callable[[], None]) -> int:
    """Run ``work`` and return the exit code. A UserError is written to /opt/ml/output/failure."""
    try:
        work()
    except UserError as error:
        failure = base() / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"ClientError: {error}", encoding="utf-8")
        print(f"ClientError: {error}", file=sys.stderr)
        return 1
    return 0
