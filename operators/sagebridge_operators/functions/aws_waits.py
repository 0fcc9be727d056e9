"""Sensors that call AWS, with the credentials that boto3 finds in the process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from sagebridge_operators.lifecycle.user_code.run_context import current_run


def objects_exist(
    keys: Sequence[str],
    bucket: str = "",
    wildcards: bool = False,
    regex: bool = False,
    region: str | None = None,
) -> bool:
    """Whether S3 has an object for each key, as S3KeySensor (``sensors/s3.py`` of the provider).

    Args:
        keys: keys in the ``bucket``; without one, S3 URIs.
        bucket: may be empty.
        wildcards: the keys are patterns of :mod:`fnmatch`.
        regex: the keys are regular expressions.
        region: by default that of boto3.
    """
    s3 = _client("s3", region)
    places = [
        (bucket, "", key) if bucket else key.partition("://")[2].partition("/") for key in keys
    ]
    if not wildcards and not regex:
        return all(_exists(s3, name, key) for name, _, key in places)
    return all(_has_match(s3, name, key, regex) for name, _, key in places)


def _exists(s3: Any, bucket: str, key: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return False
        raise
    return True


def _has_match(s3: Any, bucket: str, pattern: str, regex: bool) -> bool:
    prefix = "" if regex else re.split(r"[\[*?]", pattern)[0]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = (one["Key"] for page in pages for one in page.get("Contents", ()))
    return any(re.match(pattern, key) if regex else fnmatch(key, pattern) for key in keys)


def messages_received(
    queue: str,
    count: int = 5,
    batches: int = 1,
    wait: int = 1,
    visibility: int | None = None,
    keep: bool = False,
    region: str | None = None,
) -> bool:
    """Whether SQS has messages, as SqsSensor; they are pushed with the key ``messages``.

    Args:
        queue: the URL of the queue.
        count: the most messages of one batch.
        batches: how often to ask for messages.
        wait: the seconds to wait for the first message of a batch.
        visibility: the seconds in which no other consumer gets the messages.
        keep: do not delete the messages.
        region: by default that of boto3.
    """
    sqs = _client("sqs", region)
    given = {"MaxNumberOfMessages": count, "WaitTimeSeconds": wait}
    if visibility is not None:
        given["VisibilityTimeout"] = visibility
    found: list[Mapping[str, Any]] = []
    for _ in range(batches):
        batch = sqs.receive_message(QueueUrl=queue, **given).get("Messages", [])
        if batch and not keep:
            entries = [
                {"Id": one["MessageId"], "ReceiptHandle": one["ReceiptHandle"]} for one in batch
            ]
            sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
        found += batch
    if found:
        current_run().push("messages", found)
    return bool(found)


def _client(service: str, region: str | None) -> Any:
    import boto3

    make: Any = boto3.client
    return make(service, region_name=region)
