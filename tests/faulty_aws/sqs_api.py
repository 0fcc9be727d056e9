"""SQS queues, and a consumer that answers the messages of Callback steps by their job script.

A consumer answers Success when its script ends as Completed, with the arguments of the message as
outputs or those in its members, and Failure when it ends as Failed.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.faulty_aws.job_store import JobService, StoredJob
from tests.faulty_aws.protocol import Call


@dataclass(slots=True)
class Message:
    queue: str
    body: str
    visible: float
    receipt: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class SqsApi(JobService):
    """A message with a token is a resource of kind ``Callback``, named after the token."""

    missing = ("QueueDoesNotExist", "The specified queue does not exist.")

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[Message] = []
        self._receipts = 0

    def clear(self) -> None:
        super().clear()
        self._messages.clear()
        self._receipts = 0

    def _answer(self, call: Call) -> Any:
        members, queue = call.members, call.name
        match call.operation:
            case "SendMessage":
                return {"MessageId": self._sent(queue, members).id}
            case "ReceiveMessage":
                self._consume()
                return {"Messages": self._received(queue, members)}
            case "DeleteMessage":
                handle = members["ReceiptHandle"]
                self._messages = [one for one in self._messages if one.receipt != handle]
                return {}
            case "ChangeMessageVisibility":
                for one in self._messages:
                    if one.receipt == members["ReceiptHandle"]:
                        one.visible = time.monotonic() + members["VisibilityTimeout"]
                return {}
        raise self.unknown(call)

    def _sent(self, queue: str, members: dict[str, Any]) -> Message:
        message = Message(queue, members["MessageBody"], time.monotonic())
        self._messages.append(message)
        attribute = members.get("MessageAttributes", {}).get("ResponseQueueUrl")
        if attribute is not None:
            body = json.loads(members["MessageBody"])
            answers = attribute["StringValue"].rpartition("/")[2]
            if body["status"] == "Stopping":
                for one in self.jobs("Callback"):
                    if one.name == body["token"]:
                        one.body["answered"] = True
            else:
                self.add("Callback", body["token"], {"body": body, "answered": False}, answers)
        return message

    def _consume(self) -> None:
        for one in self.jobs("Callback"):
            status = "" if one.body["answered"] else one.current.look()
            if status in ("Completed", "Failed"):
                one.body["answered"] = True
                text = json.dumps(self._reply(one, status))
                self._messages.append(Message(one.owner, text, time.monotonic()))

    def _reply(self, job: StoredJob, status: str) -> dict[str, Any]:
        token = {"token": job.name}
        if status == "Failed":
            return {**token, "status": "Failure", "failureReason": job.reason}
        given = job.script.members.get("OutputParameters", job.body["body"]["arguments"])
        outputs = [{"Name": name, "Value": str(value)} for name, value in given.items()]
        return {**token, "status": "Success", "outputParameters": outputs}

    def _received(self, queue: str, members: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        present = time.monotonic()
        for one in self._messages:
            full = len(found) == members.get("MaxNumberOfMessages", 1)
            if one.queue == queue and one.visible <= present and not full:
                one.visible = present + members.get("VisibilityTimeout", 30)
                self._receipts += 1
                one.receipt = f"receipt-{self._receipts}"
                found.append({"MessageId": one.id, "ReceiptHandle": one.receipt, "Body": one.body})
        return found
