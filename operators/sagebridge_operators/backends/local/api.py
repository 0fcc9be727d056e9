"""Shared by the services of the local backend: HTTP requests, responses and API errors."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from sagebridge.errors import SagebridgeError
from sagebridge.model.values import EMPTY

REGION = "us-east-1"
ACCOUNT = "000000000000"
# 507 Insufficient Storage: botocore retries 500, but not 507 (botocore/data/_retry.json).
CANNOT_STORE = 507
TARGET = "x-amz-target"
"""The header with the operation, in the JSON protocols of AWS."""


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


def json_answer(
    request: Request, call: Callable[[str, Mapping[str, Any]], dict[str, Any]]
) -> Answer:
    """The response of ``call`` to an operation and its request, in the JSON protocols of AWS."""
    operation = request.headers.get(TARGET, "").rpartition(".")[2]
    try:
        return as_json(200, call(operation, json.loads(request.body.read() or b"{}")))
    except ApiError as error:
        return as_json(error.status, {"__type": error.code, "message": error.message})
    except SagebridgeError as error:
        return as_json(CANNOT_STORE, {"__type": "InternalFailure", "message": str(error)})


def as_json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] = EMPTY) -> Answer:
    """A response with a JSON body."""
    content = json.dumps(body).encode()
    own = {"Content-Type": "application/x-amz-json-1.1", "Content-Length": str(len(content))}
    return Answer(status, {**own, **headers}, io.BytesIO(content))
