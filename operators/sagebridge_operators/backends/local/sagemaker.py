"""The part of the SageMaker API that this machine can do, in boto3's shapes.

Codes and messages of errors are AWS's where they are known, since callers tell causes apart by
them. Shapes of requests are checked by the client; what is checked here is left to the service.
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
    """The service in the folder ``home``; relative paths of jobs are taken from ``base``."""

    def __init__(self, home: Path, base: Path, region: str = REGION) -> None:
        records = Records(home / "records.db")
        self._operations = {
            **Jobs(home, base, region, records).operations(),
            **Registry(region, records).operations(),
        }

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The response of an operation such as CreateTrainingJob; times are epoch seconds.

        Raises:
            ApiError: as the service would.
        """
        if operation not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise ApiError(
                "UnknownOperationException",
                f"the local backend has no {operation}; it has {known}",
            )
        return self._operations[operation](request)

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request of the JSON 1.1 protocol."""
        operation = request.headers.get(TARGET, "").rpartition(".")[2]
        try:
            members = json.loads(request.body.read() or b"{}")
            return _json(200, self.call(operation, members))
        except ApiError as error:
            return _json(error.status, {"__type": error.code, "message": error.message})
        except SagebridgeError as error:
            return _json(CANNOT_STORE, {"__type": "InternalFailure", "message": str(error)})


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "Content-Length": str(len(content))}
    return Answer(status, headers, io.BytesIO(content))
