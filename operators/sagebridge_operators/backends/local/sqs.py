"""The local Amazon SQS: queues in the records, which exist once a message was sent to them.

It has what the sender and the consumers of Callback messages call. A message is hidden for a while
after it was received, and stays until it is deleted.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.api import Answer, ApiError, Request, json_answer
from sagebridge_operators.backends.local.database import NoSuchRecord, Records

_KIND = "Message"
_HIDDEN_SECONDS = 30
_POLL_SECONDS = 0.1


class SQS:
    """The service for the folder ``home``."""

    def __init__(self, home: Path) -> None:
        self._records = Records(home / "records.db")
        self._operations = {
            "ChangeMessageVisibility": self._hide,
            "DeleteMessage": self._delete,
            "ReceiveMessage": self._receive,
            "SendMessage": self._send,
        }

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request of the JSON 1.0 protocol."""
        return json_answer(request, self._call)

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation not in self._operations:
            known = ", ".join(self._operations)
            text = f"the local backend does not support {operation} of SQS (it supports {known})"
            raise ApiError("UnknownOperationException", text)
        return self._operations[operation](request)

    def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        own, body = str(uuid.uuid4()), request["MessageBody"]
        message = {
            "MessageId": own,
            "Body": body,
            "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "MessageAttributes": request.get("MessageAttributes", {}),
            "_visible": time.time() + request.get("DelaySeconds", 0),
        }
        self._records.insert(_KIND, f"{request['QueueUrl']} {own}", message)
        return {"MessageId": own, "MD5OfMessageBody": message["MD5OfBody"]}

    def _receive(self, request: Mapping[str, Any]) -> dict[str, Any]:
        until = time.monotonic() + request.get("WaitTimeSeconds", 0)
        while not (found := self._take(request)) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return {"Messages": found} if found else {}

    def _take(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        queue, now = f"{request['QueueUrl']} ", time.time()
        hidden = now + request.get("VisibilityTimeout", _HIDDEN_SECONDS)
        wanted = set(request.get("MessageAttributeNames", ()))
        taken = []
        with self._records.transaction() as transaction:
            for message in transaction.list(_KIND, queue):
                if message["_visible"] > now:
                    continue
                name = queue + message["MessageId"]
                transaction.update(_KIND, name, lambda body: body.update(_visible=hidden))
                attributes = {
                    key: value
                    for key, value in message["MessageAttributes"].items()
                    if wanted & {key, "All", ".*"}
                }
                keys = ("MessageId", "Body", "MD5OfBody")
                answer = {key: message[key] for key in keys} | {"ReceiptHandle": name}
                taken.append(answer | ({"MessageAttributes": attributes} if attributes else {}))
                if len(taken) == request.get("MaxNumberOfMessages", 1):
                    break
        return taken

    def _hide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        until = time.time() + request["VisibilityTimeout"]
        try:
            self._records.update(
                _KIND, request["ReceiptHandle"], lambda body: body.update(_visible=until)
            )
        except NoSuchRecord:
            text = "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist."
            raise ApiError("InvalidParameterValue", text) from None
        return {}

    def _delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._records.delete(_KIND, request["ReceiptHandle"])
        except NoSuchRecord:
            return {}  # as AWS, which does not report a message that is deleted already
        return {}
