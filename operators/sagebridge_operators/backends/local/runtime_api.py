"""The SageMaker Runtime API of this machine: InvokeEndpoint, by the HTTP server of the endpoint."""

from __future__ import annotations

import http.client
import io
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.api import (
    ACCOUNT,
    CANNOT_STORE,
    Answer,
    ApiError,
    Request,
)
from sagebridge_operators.backends.local.endpoint_api import Endpoints
from sagebridge_operators.backends.local.endpoint_server import ERROR_TYPE, PAYLOAD_BYTES
from sagebridge_operators.backends.local.loopback import HOST

_PATH = re.compile(r"/endpoints/([^/]+)/invocations")
TIMEOUT_SECONDS = 60.0
"""How long a model may take, as on AWS."""
_FORWARDED = re.compile(r"accept|content-type|x-amzn-sagemaker-.*")


class Runtime:
    """SageMaker Runtime for the endpoints of this machine."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request."""
        try:
            if (path := _PATH.fullmatch(request.path)) is None:
                message = f"the local backend supports only InvokeEndpoint, not {request.path}"
                raise ApiError("UnknownOperationException", message)
            return _invoke(_in_service(self._endpoints, unquote(path[1])), request)
        except ApiError as error:
            return _error(error.status, error.code, {"Message": error.message})
        except SagebridgeError as error:
            return _error(CANNOT_STORE, "InternalFailure", {"Message": str(error)})


def _invoke(found: Mapping[str, Any], request: Request) -> Answer:
    """The answer of an endpoint; errors of its model are ModelError."""
    try:
        payload = request.body.read(PAYLOAD_BYTES + 1)
        headers = {
            key: value for key, value in request.headers.items() if _FORWARDED.fullmatch(key)
        }
        headers["Authorization"] = f"Bearer {found['_token']}"
        connection = http.client.HTTPConnection(HOST, found["_port"], timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/invocations", payload, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
    except TimeoutError:
        text = "Your invocation timed out while waiting for a response from container primary."
        return _model_error(found, 0, text)
    except (OSError, http.client.HTTPException) as error:
        return _model_error(found, 0, f"The server of the endpoint has ended: {error}")
    if kind := response.headers.get(ERROR_TYPE):
        return _error(400, kind, {"Message": body.decode(errors="replace")})
    if response.status >= 400:
        return _model_error(found, response.status, body.decode(errors="replace"))
    answered = {key: value for key, value in response.headers.items() if key.lower() != "server"}
    return Answer(200, answered | {"Content-Length": str(len(body))}, io.BytesIO(body))


def _in_service(endpoints: Endpoints, name: str) -> dict[str, Any]:
    """The endpoint, once a server that was started again is ready."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            found = endpoints.find(name)
        except ApiError:
            message = f"Endpoint {name} of account {ACCOUNT} not found."
            raise ApiError("ValidationError", message) from None
        if "_port" in found:
            return found
        status = found["EndpointStatus"]
        if "_server" not in found or status not in ("SystemUpdating", "Updating"):
            reason = found.get("FailureReason", "")
            message = f"Endpoint {name} is {status}{reason and f': {reason}'}"
            raise ApiError("ValidationError", message)
        if time.monotonic() > until:
            raise ApiError("ServiceUnavailable", f"Endpoint {name} is {status}", 503)
        time.sleep(0.2)


def _model_error(found: Mapping[str, Any], status: int, text: str) -> Answer:
    body = {
        "Message": f'Received error ({status}) from model with message "{text}".',
        "OriginalStatusCode": status,
        "OriginalMessage": text,
        "LogStreamArn": str(found["_log"]),
    }
    return _error(424, "ModelError", body)


def _error(status: int, kind: str, body: Mapping[str, Any]) -> Answer:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return Answer(status, headers | {ERROR_TYPE: kind}, io.BytesIO(content))
