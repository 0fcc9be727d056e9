"""Sort support tickets from a bucket into queues, with AWS calls in the tasks."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import boto3
from prefect import flow, get_run_logger, task

BUCKET = "tickets"
QUEUES = {"billing": "billing-tickets", "other": "other-tickets"}


@cache
def client(service: str) -> Any:
    return boto3.client(service)


def queue_url(topic: str) -> str:
    name = QUEUES.get(topic, QUEUES["other"])
    return client("sqs").get_queue_url(QueueName=name)["QueueUrl"]


@task(retries=2, retry_delay_seconds=[0, 1])
def read_tickets(day: str) -> list[dict]:
    """The day's tickets; the bucket is busy at the first try."""
    s3 = client("s3")
    tries = s3.list_objects_v2(Bucket=BUCKET, Prefix="tries/").get("KeyCount", 0)
    s3.put_object(Bucket=BUCKET, Key=f"tries/{tries}", Body=b"")
    if tries == 0:
        raise ConnectionError("slow down")
    body = s3.get_object(Bucket=BUCKET, Key=f"{day}/tickets.json")["Body"].read()
    return json.loads(body)


@task
def classify(tickets: list[dict], words: tuple[str, ...] = ("invoice", "refund")) -> dict:
    """Tickets by topic."""
    found: dict[str, list[dict]] = {"billing": [], "other": []}
    for ticket in tickets:
        text = ticket["text"].lower()
        found["billing" if any(word in text for word in words) else "other"].append(ticket)
    return found


@task(log_prints=True)
def send(topic: str, tickets: list[dict]) -> int:
    for ticket in tickets:
        client("sqs").send_message(QueueUrl=queue_url(topic), MessageBody=json.dumps(ticket))
    print(f"sent {len(tickets)} to {topic}")
    return len(tickets)


@task
def archive(day: str, counts: list[int]) -> str:
    key = f"{day}/routed.json"
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(counts).encode())
    return key


@task
def escalate(tickets: list[dict]) -> str:
    return f"{len(tickets)} tickets need a manager"


@flow(name="ticket-router")
def ticket_router(day: str = "2025-03-10", limit: int = 2) -> str:
    """Routes one day; more than ``limit`` bills are escalated."""
    tickets = read_tickets(day)
    topics = classify(tickets)
    billing = send.submit("billing", topics["billing"])
    other = send.submit("other", topics["other"], wait_for=[billing])
    key = archive(day, [billing.result(), other.result()])
    if billing.result() > limit:
        get_run_logger().info(escalate(topics["billing"]))
    return key


if __name__ == "__main__":
    ticket_router()
