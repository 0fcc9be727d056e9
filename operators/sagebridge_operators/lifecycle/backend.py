"""The interface of a backend: AWS, or this machine behind the same boto3 clients."""

from __future__ import annotations

from typing import Any, Protocol

NAMES = ("aws", "local")
"""The names of the backends."""


class Backend(Protocol):
    """Runs jobs.

    ``poll_seconds`` are the shortest and longest pause between two looks at a job;
    ``default_role`` is the ARN of the role for jobs whose request has none.
    """

    name: str
    poll_seconds: tuple[float, float]
    default_role: str | None

    def client(self, service: str) -> Any:
        """The boto3 client of a service, such as ``sagemaker``."""

    def renew(self) -> None:
        """Replaces the clients by new ones that use the current credentials."""

    def read_object(self, uri: str) -> bytes:
        """The content of the object at an S3 URI. Raises StoreError."""

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource, such as ``pipeline/x``, in this account and region."""

    def job_log(self, kind: str, name: str, position: int) -> tuple[list[str], int]:
        """The log lines of a job after ``position``, and the position after them."""
