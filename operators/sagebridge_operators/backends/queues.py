"""Messages of the SQS queues in which Airflow and Prefect find events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WAIT_SECONDS = 5
"""How long one call waits for messages (long polling)."""
_HIDDEN_SECONDS = 300
"""How long a received message is hidden from other readers, unless it is deleted first.

Engines need some seconds to start a run, longer than the queue's default of 30 on a busy machine.
"""


def receive_messages(sqs: Any, queue: str, wait_seconds: int = WAIT_SECONDS) -> list[Any]:
    """Up to ten messages (SQS ReceiveMessage); none if no message arrives in time.

    They stay in the queue until they are deleted, so that no event is lost with a process.
    """
    answer = sqs.receive_message(
        QueueUrl=queue,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait_seconds,
        VisibilityTimeout=_HIDDEN_SECONDS,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    return list(answer.get("Messages", ()))


def delete_message(sqs: Any, queue: str, message: Mapping[str, Any]) -> None:
    """SQS DeleteMessage; a message that is already deleted is not an error."""
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def region_of(queue: str) -> str | None:
    """The region in the URL of a queue on AWS."""
    found = re.match(r"https://(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.", queue)
    return found[1] if found else None
