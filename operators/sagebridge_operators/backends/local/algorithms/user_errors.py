"""How a program of ours that runs inside a job tells of a user's mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Data, a model or hyperparameters that the algorithm cannot take."""


def base() -> Path:
    """The job's /opt/ml, which a way without mounts puts elsewhere."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def report(work: Callable[[], None]) -> int:
    """Do the work; a UserError becomes /opt/ml/output/failure and exit code 1, no traceback."""
    try:
        work()
    except UserError as error:
        failure = base() / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"ClientError: {error}", encoding="utf-8")
        print(f"ClientError: {error}", file=sys.stderr)
        return 1
    return 0
