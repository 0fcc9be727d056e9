"""What the services of the local backend share: an answer to a request, and an error of the API."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

REGION = "us-east-1"
ACCOUNT = "000000000000"
# 507, Insufficient Storage: clients do not try again, as they would after 500.
CANNOT_STORE = 507


def arn(region: str, resource: str) -> str:
    """The ARN of a SageMaker resource here, as ``training-job/name``: of no real account."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{resource}"


class ApiError(Exception):
    """An error as the service tells it: its code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request: the path is still percent-encoded, header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: IO[bytes] = field(default_factory=io.BytesIO)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; whoever sends the body closes it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: IO[bytes] = field(default_factory=io.BytesIO)
