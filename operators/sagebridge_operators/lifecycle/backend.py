"""What the lifecycle asks of a place where jobs run."""

from __future__ import annotations

from typing import Any, Protocol


class Backend(Protocol):
    """``poll_seconds`` are the shortest and longest pause between two looks at a job."""

    name: str
    poll_seconds: tuple[float, float]
    default_role: str | None

    def client(self, service: str) -> Any:
        """A boto3 client."""

    def renew(self) -> None:
        """Makes clients anew, with the credentials that there are now."""

    def read_object(self, uri: str) -> bytes:
        """The object at an S3 URI. Raises StoreError that names it."""

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource of this account and region, as ``pipeline/x``."""

    def job_log(self, kind: str, name: str, position: int) -> tuple[list[str], int]:
        """The lines that a job wrote since ``position``, and the position after them."""
