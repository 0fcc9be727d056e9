"""The local Lambda service: Invoke, which runs a handler of this machine."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.lambda_functions import find_handler, how_to_map
from sagebridge_operators.backends.local.api import (
    ACCOUNT,
    CANNOT_STORE,
    Answer,
    ApiError,
    Request,
    as_json,
)
from sagebridge_operators.backends.local.database import NoSuchRecord, Records
from sagebridge_operators.backends.local.job_api import Jobs
from sagebridge_operators.backends.local.local_job_type import local_job_type
from sagebridge_operators.backends.local.supervised_job import TERMINAL
from sagebridge_operators.steps.lambda_ import CALL_KEY, STOPPED

KIND = "Lambda"
_INVOKE = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")
_POLL_SECONDS = 0.05
_LARGEST_EVENT = 6 * 1024**2


class Lambda:
    """The service for the folder ``home``.

    An invocation with a token is carried out once: a second one with the same token gets the
    answer of the first.
    """

    def __init__(self, home: Path, base: Path, region: str) -> None:
        self._region, self._records = region, Records(home / "records.db")
        self._jobs = Jobs(home, base, region, self._records)

    def answer(self, request: Request) -> Answer:
        """The response to an Invoke request; it arrives when the function has ended."""
        try:
            found = _INVOKE.fullmatch(request.path)
            if found is None or request.method != "POST":
                text = "the local backend supports only Invoke of Lambda"
                raise ApiError("UnknownOperationException", text, 404)
            ended = self._invoke(unquote(found["name"]), request)
        except ApiError as error:
            headers = {"x-amzn-ErrorType": error.code}
            return as_json(error.status, {"Type": "User", "Message": error.message}, headers)
        except SagebridgeError as error:
            headers = {"x-amzn-ErrorType": "ServiceException"}
            return as_json(CANNOT_STORE, {"Type": "Service", "Message": str(error)}, headers)
        headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
        if error_kind := ended["FunctionError"]:
            headers["X-Amz-Function-Error"] = error_kind
        return Answer(200, headers, io.BytesIO(ended["Payload"].encode()))

    def _invoke(self, function: str, request: Request) -> dict[str, Any]:
        headers = request.headers
        if (kind := headers.get("x-amz-invocation-type", "RequestResponse")) != "RequestResponse":
            text = f"the local backend supports only RequestResponse invocations, not {kind}"
            raise ApiError("InvalidParameterValueException", text)
        context = _decoded(headers.get("x-amz-client-context", ""))
        token = (context.get("custom") or {}).get(CALL_KEY) or uuid.uuid4().hex
        content = request.body.read()
        if len(content) > _LARGEST_EVENT:
            text = f"Request must be smaller than {_LARGEST_EVENT} bytes for the InvokeFunction"
            raise ApiError("RequestTooLargeException", f"{text} operation", 413)
        if self._records.get(KIND, token) is None:
            self._start(function, token, _decoded_event(content), context)
        return self._wait(token)

    def _start(self, function: str, token: str, event: Any, context: Mapping[str, Any]) -> None:
        name = function.partition(":function:")[2] or function
        arn = f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{name}"
        arn = function if function.startswith("arn:") else arn
        if (handler := find_handler(function)) is None:
            text = f"Function not found: {arn}; it has no handler on this machine: "
            raise ApiError("ResourceNotFoundException", text + how_to_map(function), 404)
        body = {
            f"{KIND}JobName": token,
            "FunctionName": name.partition(":")[0],
            "FunctionArn": arn,
            "File": str(handler.file),
            "Handler": handler.name,
            "RequestId": str(uuid.uuid4()),
            "Event": event,
            "ClientContext": context,
        }
        try:
            self._jobs.create(local_job_type(KIND), body)
        except ApiError as error:
            if error.code != "ResourceInUse":  # another worker of the same attempt was faster
                raise

    def _wait(self, token: str) -> dict[str, Any]:
        while (found := invocation(self._records, token)) is None or found["Running"]:
            time.sleep(_POLL_SECONDS)
        return found


def invocation(records: Records, token: str) -> dict[str, Any] | None:
    """The state of an invocation: Event, Running, FunctionError and Payload; None if unknown."""
    from sagebridge_operators.backends.local import supervisor

    try:
        body = supervisor.reap(records, KIND, token)
    except NoSuchRecord:
        return None
    status = body[f"{KIND}JobStatus"]
    error, payload = body.get("FunctionError", ""), body.get("Payload", "")
    if status == "Stopped":
        error = STOPPED
    elif status == "Failed" and not payload:  # the process of the function did not start
        error = "Unhandled"
        payload = json.dumps({"errorMessage": body["FailureReason"]})
    return {
        "Event": body["Event"],
        "Running": status not in TERMINAL,
        "FunctionError": error,
        "Payload": payload,
    }


def stop_invocation(home: Path, token: str) -> None:
    """Ends an invocation, if it still runs."""
    from sagebridge_operators.backends.local import supervisor

    try:
        supervisor.request_stop(home, KIND, token)
    except NoSuchRecord:
        return


def _decoded(text: str) -> dict[str, Any]:
    """The object in the header X-Amz-Client-Context."""
    try:
        found = json.loads(base64.b64decode(text)) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = "Client context must be a valid Base64-encoded JSON object."
        raise ApiError("InvalidRequestContentException", text)
    return found


def _decoded_event(content: bytes) -> Any:
    try:
        return json.loads(content) if content else {}
    except ValueError as error:
        text = f"Could not parse request body into json: {error}"
        raise ApiError("InvalidRequestContentException", text) from None
