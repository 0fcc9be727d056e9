"""Shared by the services of the local backend: HTTP requests, responses and API errors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

REGION = "us-east-1"
ACCOUNT = "000000000000"
# 507 Insufficient Storage: botocore retries 500, but not 507 (botocore/data/_retry.json).
CANNOT_STORE = 507


def arn(region: str, resource: str) -> str:
    """The ARN of a local SageMaker resource, such as ``training-job/name``, in a fake account."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{resource}"


class ApiError(Exception):
    """An error response: AWS's error code, the message and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. The path is percent-encoded, header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: IO[bytes] = field(default_factory=io.BytesIO)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. The caller closes the body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: IO[bytes] = field(default_factory=io.BytesIO)
