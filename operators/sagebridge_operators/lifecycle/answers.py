"""The answers of consumers to Callback steps, in a queue that all waiting steps share.

The command ``sagebridge callback`` and the local SageMaker API record an answer without a queue.

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
from dataclasses import dataclass, replace
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.attempt import Attempt, now
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.masking import mask
from sagebridge_operators.lifecycle.objects import Objects, WriteConflict
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import CallbackEnded, UnknownCallback
from sagebridge_operators.steps.job_type import JobType

_TOKEN = re.compile(r"[A-Za-z0-9]{10}")
_WAITING = ".waiting.json"
_HIDDEN = 60
"""Seconds for which a received message is hidden from other receivers."""
_ROUNDS = 20
"""Most receives of one look, of 10 messages each."""


def client_of(job_type: JobType, backend: Backend, records: ExecutionRecords) -> Any:
    """The client that the methods of a job type take."""
    client = job_type.client(backend)
    if not job_type.answered:
        return client
    return AnswerChannel(client, records.objects, backend.response_queue)


@dataclass(frozen=True, slots=True)
class AnswerChannel:
    """Sends messages with tokens, and finds their answers.

    Args:
        sqs: a boto3 client.
        response_queue: the URL of the response queue; empty if it is not set, None without one.
    """

    sqs: Any
    objects: Objects
    response_queue: str | None

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

    def send(self, queue: str, response_queue: str | None, body: Mapping[str, Any]) -> None:
        """Sends a message, with the URL of the response queue as an attribute."""
        more: dict[str, Any] = {}
        if response_queue:
            url = {"DataType": "String", "StringValue": response_queue}
            more["MessageAttributes"] = {"ResponseQueueUrl": url}
        if queue.endswith(".fifo"):
            own = f"{body['token']}-{body['status']}"
            more |= {"MessageGroupId": body["token"], "MessageDeduplicationId": own}
        self.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body), **more)

    def receive(self, response_queue: str | None) -> None:
        """Records the answers in a response queue, if there is one, and deletes their messages."""
        if not response_queue:
            return
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
        with suppress(WriteConflict):
            _record(self.objects, token, body)
        return True


@dataclass(frozen=True, slots=True)
class WaitingStep:
    """A Callback step that waits for its answer. ``attempt`` is None without its record.

    ``sent`` is empty while its message is being sent: a consumer may be faster than the record.
    """

    token: str
    queue: str
    message: Mapping[str, Any]
    sent: str
    attempt: Attempt | None

    @property
    def execution(self) -> str:
        return str(self.message["pipelineExecutionArn"]).rpartition("/")[2]


def waiting_steps(records: ExecutionRecords) -> list[WaitingStep]:
    """The steps that wait for an answer, the longest waiting first."""
    keys = records.objects.keys("answers/")
    tokens = [key.split("/")[1].partition(".")[0] for key in keys if key.endswith(_WAITING)]
    found = []
    for token in tokens:
        with suppress(UnknownCallback, CallbackEnded):
            found.append(waiting_step(records, token))
    return sorted((one for one in found if one.sent), key=lambda one: one.sent)


def waiting_step(records: ExecutionRecords, token: str) -> WaitingStep:
    """The step that waits for an answer with a token. Raises UnknownCallback or CallbackEnded."""
    stored = records.objects.read(_waiting_key(token)) if _TOKEN.fullmatch(token) else None
    if stored is None:
        raise UnknownCallback(token, records.objects.location)
    there = stored.body
    found = WaitingStep(token, there["queue"], there["body"], there.get("sent", ""), None)
    attempts = records.attempts(found.execution)
    attempt = next((one for one in attempts if one.parts and one.parts[-1].name == token), None)
    if (answer := records.objects.read(_answer_key(token))) is not None:
        raise CallbackEnded(token, f"it was answered ({answer.body.get('status')})")
    if "stopped" in there or (attempt is not None and not attempt.running):
        raise CallbackEnded(token, attempt.state if attempt and attempt.end else "Stopped")
    return replace(found, attempt=attempt)


def give_answer(records: ExecutionRecords, token: str, answer: Mapping[str, Any]) -> WaitingStep:
    """Answers a Callback step; ``answer`` has the keys of a message in a response queue.

    As SageMaker's SendPipelineExecutionStepSuccess and SendPipelineExecutionStepFailure. Raises
    UnknownCallback, or CallbackEnded for a second answer and for a step that has ended.
    """
    found = waiting_step(records, token)
    try:
        _record(records.objects, token, answer)
    except WriteConflict:
        raise CallbackEnded(token, "it was answered") from None
    return found


def how_to_answer(step: Step, token: str, options: str = "") -> str:
    """The commands that answer a waiting step."""
    declared = () if step.output_parameters is ABSENT else step.output_parameters
    outputs = "".join(f" -o {one.name}=VALUE" for one in declared)
    return (
        f"{step.name} waits for an answer: sagebridge callback succeed {token}{outputs}{options}, "
        f"or: sagebridge callback fail {token}{options}"
    )


def _record(objects: Objects, token: str, body: Mapping[str, Any]) -> None:
    """Records the first answer. Raises WriteConflict if there is one."""
    keys = ("status", "outputParameters", "failureReason")
    answer = {key: body[key] for key in keys if key in body}
    objects.create(_answer_key(token), {**answer, "received": now()})


def _waiting_key(token: str) -> str:
    return f"answers/{token}{_WAITING}"


def _answer_key(token: str) -> str:
    return f"answers/{token}.json"
