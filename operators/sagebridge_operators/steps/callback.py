"""Callback: sends a message with a token to a queue, and waits for the answer of a consumer.

SageMaker's consumers call SendPipelineExecutionStepSuccess, which knows only SageMaker's tokens.
With jobs on AWS they send a message to a response queue instead: see docs/callback.md. The local
backend answers that call itself and needs no response queue.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.expressions import execution
from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType
from sagebridge_operators.steps.output_parameters import OUTPUT_PARAMETERS, typed_outputs

RESPONSE_QUEUE = "SAGEBRIDGE_RESPONSE_QUEUE"
"""The environment variable with the URL of the queue that consumers answer to."""
_LETTERS = string.ascii_letters + string.digits
_TOKEN_LENGTH = 10
_LONGEST_REASON = 256
"""The limit of FailureReason in SendPipelineExecutionStepFailure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(JobType):
    """Its client is an AnswerChannel, and its name is the token."""

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        queue = step.extra.get("SqsQueueUrl")
        if not isinstance(queue, str) or not queue:
            text = f"SqsQueueUrl of step {step.name!r}: expected the URL of a queue, got {queue!r}"
            raise StepFailed(text, kind="request")
        message = {
            "pipelineExecutionArn": step.extra["PipelineExecutionArn"],
            "arguments": dict(arguments),
            "status": "Executing",
        }
        return {"QueueUrl": queue, "MessageBody": message}

    def handle(self, name: str, request: Mapping[str, Any], since: object) -> str:
        """A new token. It is recorded before the message is sent, for the next worker."""
        return "".join(secrets.choice(_LETTERS) for _ in range(_TOKEN_LENGTH))

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        queue, response = request["QueueUrl"], client.response_queue
        if response == "":
            text = (
                f"{RESPONSE_QUEUE} is not set; set it to the URL of the SQS queue that consumers "
                "send their answers to"
            )
            raise StepFailed(text, kind="request")
        client.receive(response)  # a queue that cannot be read must not keep the consumer waiting
        body = {"token": name, **request["MessageBody"]}
        client.expect(name, {"queue": queue, "response_queue": response, "body": body})
        client.send(queue, response, body)
        client.note(name, "sent")
        return name

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        waiting = client.waiting(name)
        if waiting is None or "sent" not in waiting:
            return None
        found = {"Name": name, "SqsQueueUrl": waiting["queue"]}
        if "stopped" in waiting:
            return {**found, "Status": "Stopped"}
        if (answer := client.answer(name)) is None:
            client.receive(waiting["response_queue"])
            answer = client.answer(name)
        return {**found, **(_outcome(answer) if answer is not None else {"Status": "Waiting"})}

    def properties(self, step: Step, description: Mapping[str, Any]) -> Mapping[str, Any]:
        source = f"the answer with token {description['Name']}"
        outputs = typed_outputs(step, description["OutputParameters"], source)
        return {**description, "OutputParameters": outputs}

    def request_stop(self, client: Any, name: str) -> None:
        """Sends the message again with the status Stopping. No answer is waited for."""
        waiting = client.waiting(name)
        if waiting is None or "stopped" in waiting or client.answer(name) is not None:
            return
        body = {**waiting["body"], "token": name, "status": "Stopping"}
        client.send(waiting["queue"], waiting["response_queue"], body)
        client.note(name, "stopped")


def _outcome(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The status of an answer, its outputs by name, and the reason of a failure."""
    status = answer.get("status")
    if status == "Failure":
        return _failure(str(answer.get("failureReason") or "the consumer gave no failureReason"))
    if status != "Success":
        return _failure(f"invalid answer: expected status Success or Failure, got {status!r}")
    outputs = answer.get("outputParameters") or []
    try:
        return {"Status": "Success", "OutputParameters": {o["Name"]: o["Value"] for o in outputs}}
    except (TypeError, KeyError):
        return _failure("invalid answer: expected outputParameters as [{Name, Value}, ...]")


def _failure(reason: str) -> dict[str, Any]:
    return {"Status": "Failure", "FailureReason": reason[:_LONGEST_REASON]}


STEP = Callback(
    type="Callback",
    service="sqs",
    create="send_message",
    describe="receive_message",
    stop="send_message",
    more_calls=("delete_message", "change_message_visibility"),
    name_key="Name",
    arn_key="Name",
    role_key=None,
    status_key="Status",
    states={"Success": "Succeeded", "Failure": "Failed", "Stopped": "Stopped"},
    interim=frozenset(("Waiting",)),
    noun="token",
    found_by="at-least-once",
    answered=True,
    not_deferred="answers are received with the execution records, which a trigger does not read",
    also_resolved={"PipelineExecutionArn": execution.pipeline_execution_arn},
    outputs=lambda found: {OUTPUT_PARAMETERS: found.get("OutputParameters")},
    permissions=(
        (("sqs:SendMessage",), "arn:aws:sqs:*:{account}:*"),
        (
            ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"),
            "arn:aws:sqs:*:{account}:my-response-queue",
        ),
    ),
)
