"""The interface of a backend: AWS, or this machine behind the same boto3 clients."""

from __future__ import annotations

from typing import Any, Protocol

NAMES = ("aws", "local")
"""The names of the backends."""


LINES = 1000
"""Most lines of a job's log that are shown at once."""


class JobLog(Protocol):
    """The log of one job. ``position`` grows as it is read; a record stores it."""

    position: int

    def read(self, limit: int = LINES) -> list[str]:
        """The lines since the last call, or the last ``limit`` ones after a line about the gap.

        Never raises an error: a line reports why the log cannot be read.
        """


class Backend(Protocol):
    """Runs jobs.

    ``poll_seconds`` are the shortest and longest pause between two looks at a job;
    ``default_role`` is the ARN of the role for jobs whose request has none. ``has_experiments`` is
    whether its jobs can be part of an experiment.
    """

    name: str
    poll_seconds: tuple[float, float]
    default_role: str | None
    has_experiments: bool

    def client(self, service: str) -> Any:
        """The boto3 client of a service, such as ``sagemaker``."""

    def renew(self) -> None:
        """Replaces the clients by new ones that use the current credentials."""

    def read_object(self, uri: str) -> bytes:
        """The content of the object at an S3 URI. Raises StoreError."""

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource, such as ``pipeline/x``, in this account and region."""

    def job_log(self, kind: str, name: str, position: int = 0) -> JobLog:
        """The log of a job of a step type, from ``position`` on."""
