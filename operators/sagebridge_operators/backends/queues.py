"""Messages of the SQS queues in which Airflow and Prefect find events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WAIT_SECONDS = 5
"""How long one call waits for messages (long polling)."""
_IN_ONE_CALL = 10
_CHARACTERS = 1_000_000
"""After so many, no further messages are received at once: Airflow stores them in its database."""
_HIDDEN_SECONDS = 60
"""How long a received message is hidden from other readers, unless it is deleted first."""


def receive_messages(
    sqs: Any, queue: str, wait_seconds: int = WAIT_SECONDS, *, most: int = _IN_ONE_CALL
) -> list[Any]:
    """The messages of a queue (SQS ReceiveMessage); none if no message arrives in time.

    They stay in the queue until they are deleted, so that no event is lost with a process.
    """
    found: list[Any] = []
    while len(found) < most and sum(len(one["Body"]) for one in found) < _CHARACTERS:
        answer = sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=_IN_ONE_CALL,
            WaitTimeSeconds=0 if found else wait_seconds,
            VisibilityTimeout=_HIDDEN_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", ())
        found += messages
        if not messages:
            break
    return found


def delete_message(sqs: Any, queue: str, message: Mapping[str, Any]) -> None:
    """SQS DeleteMessage; a message that is already deleted is not an error."""
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def region_of(queue: str) -> str | None:
    """The region in the URL of a queue on AWS."""
    found = re.match(r"https://(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.", queue)
    return found[1] if found else None
