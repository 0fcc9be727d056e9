"""The answers of consumers to Callback steps, in a queue that all waiting steps share.

Records next to the executions, for each token:

- ``answers/<token>.waiting.json``: the step that waits, and whether its message was sent
- ``answers/<token>.json``: the answer. It is created once and never changed

The worker that receives a message records it for the step with that token, and then deletes the
message. A message with an unknown token stays in the queue, as other records may know it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sagebridge_operators.lifecycle.attempt import now
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.masking import mask
from sagebridge_operators.lifecycle.objects import Objects, WriteConflict
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.steps.job_type import JobType

_TOKEN = re.compile(r"[A-Za-z0-9]{10}")
_HIDDEN = 60
"""Seconds for which a received message is hidden from other receivers."""
_ROUNDS = 20
"""Most receives of one look, of 10 messages each."""


def client_of(job_type: JobType, backend: Backend, records: ExecutionRecords) -> Any:
    """The client that the methods of a job type take."""
    client = job_type.client(backend)
    return AnswerChannel(client, records.objects) if job_type.answered else client


@dataclass(frozen=True, slots=True)
class AnswerChannel:
    """Sends messages with tokens, and finds their answers; ``sqs`` is a boto3 client."""

    sqs: Any
    objects: Objects

    def expect(self, token: str, waiting: Mapping[str, Any]) -> None:
        """Records that a step waits, before its message is sent. Secrets are masked."""
        with suppress(WriteConflict):  # an earlier worker of the same attempt recorded it
            self.objects.create(_waiting_key(token), mask(waiting))

    def note(self, token: str, name: str) -> None:
        """Records the time of something that happened to a waiting step, such as ``sent``."""
        if (waiting := self.waiting(token)) is not None:
            self.objects.put(_waiting_key(token), {**waiting, name: now()})

    def waiting(self, token: str) -> dict[str, Any] | None:
        """What is recorded of a waiting step."""
        stored = self.objects.read(_waiting_key(token))
        return None if stored is None else stored.body

    def answer(self, token: str) -> dict[str, Any] | None:
        """The recorded answer."""
        stored = self.objects.read(_answer_key(token))
        return None if stored is None else stored.body

    def send(self, queue: str, response_queue: str, body: Mapping[str, Any]) -> None:
        """Sends a message, with the URL of the response queue as an attribute."""
        url = {"DataType": "String", "StringValue": response_queue}
        more = {}
        if queue.endswith(".fifo"):
            own = f"{body['token']}-{body['status']}"
            more = {"MessageGroupId": body["token"], "MessageDeduplicationId": own}
        self.sqs.send_message(
            QueueUrl=queue,
            MessageBody=json.dumps(body),
            MessageAttributes={"ResponseQueueUrl": url},
            **more,
        )

    def receive(self, response_queue: str) -> None:
        """Records the answers in a response queue, and deletes their messages."""
        unknown = []
        try:
            for _ in range(_ROUNDS):
                received = self.sqs.receive_message(
                    QueueUrl=response_queue,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=_HIDDEN,
                    WaitTimeSeconds=1,  # 0 asks only some of SQS's servers
                ).get("Messages", [])
                for message in received:
                    handle = message["ReceiptHandle"]
                    if self._record(message["Body"]):
                        self.sqs.delete_message(QueueUrl=response_queue, ReceiptHandle=handle)
                    else:
                        unknown.append(handle)
                if not received:
                    return
        finally:
            for handle in unknown:
                with suppress(Exception):  # it shows again by itself after a minute
                    self.sqs.change_message_visibility(
                        QueueUrl=response_queue, ReceiptHandle=handle, VisibilityTimeout=0
                    )

    def _record(self, text: str) -> bool:
        """Records the answer in a message, unless its token is unknown or has one already."""
        try:
            body = json.loads(text)
            token = str(body["token"])
        except (ValueError, TypeError, KeyError):
            return False
        if not _TOKEN.fullmatch(token) or self.waiting(token) is None:
            return False
        keys = ("status", "outputParameters", "failureReason")
        answer = {key: body[key] for key in keys if key in body}
        with suppress(WriteConflict):
            self.objects.create(_answer_key(token), {**answer, "received": now()})
        return True


def _waiting_key(token: str) -> str:
    return f"answers/{token}.waiting.json"


def _answer_key(token: str) -> str:
    return f"answers/{token}.json"
