"""The command of a training job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """The command of a training job, its environment and working folder.

    Attributes:
        missing: returns why the job failed although the exit code is 0; empty if it did not.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: str | None = None
    built_in: bool = False
    missing: Callable[[], str] = lambda: ""
