"""The part of the SageMaker API that the local backend supports.

Error codes and messages are AWS's if known, because callers distinguish errors by them. The
client validates the shape of a request; this module validates the rest.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.api import CANNOT_STORE, REGION, Answer, ApiError, Request
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.job_api import Jobs
from sagebridge_operators.backends.local.model_registry import Registry

TARGET = "x-amz-target"


class SageMaker:
    """The service for the folder ``home``; relative paths are relative to ``base``."""

    def __init__(self, home: Path, base: Path, region: str = REGION) -> None:
        records = Records(home / "records.db")
        self._operations = {
            **Jobs(home, base, region, records).operations(),
            **Registry(region, records).operations(),
        }

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The response of an operation such as CreateTrainingJob; times are epoch seconds.

        Raises:
            ApiError: an error of the service.
        """
        if operation not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise ApiError(
                "UnknownOperationException",
                f"the local backend does not support {operation} (it supports {known})",
            )
        return self._operations[operation](request)

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request of the JSON 1.1 protocol."""
        operation = request.headers.get(TARGET, "").rpartition(".")[2]
        try:
            fields = json.loads(request.body.read() or b"{}")
            return _json(200, self.call(operation, fields))
        except ApiError as error:
            return _json(error.status, {"__type": error.code, "message": error.message})
        except SagebridgeError as error:
            return _json(CANNOT_STORE, {"__type": "InternalFailure", "message": str(error)})


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "Content-Length": str(len(content))}
    return Answer(status, headers, io.BytesIO(content))
