"""The AWS services of both engines: one moto server on loopback, and recorded or faked calls."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

REGION = "eu-west-1"
ACCOUNT = "123456789012"
"""The account of moto."""
LOG_QUEUE = "published"
"""The queue that receives what is published to SNS topics."""


@dataclass(frozen=True, slots=True)
class Aws:
    """The moto server at ``url``."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which boto3 calls the server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def client(self, service: str) -> Any:
        import boto3

        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def reset(self) -> None:
        import requests

        requests.post(f"{self.url}/moto-api/reset", timeout=30).raise_for_status()

    def put(self, bucket: str, **objects: object) -> None:
        """Create a bucket with objects; a value that is not a string is written as JSON.

        ``__`` in a name stands for ``/``, so use :meth:`put_object` for other keys.
        """
        self.put_objects(bucket, {key.replace("__", "/"): body for key, body in objects.items()})

    def put_objects(self, bucket: str, objects: Mapping[str, object]) -> None:
        s3 = self.client("s3")
        where = {"LocationConstraint": REGION}
        if bucket not in self.buckets():
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        for key, body in objects.items():
            text = body if isinstance(body, str) else json.dumps(body)
            s3.put_object(Bucket=bucket, Key=key, Body=text.encode())

    def topic(self, name: str) -> str:
        """A new topic whose messages are kept."""
        sns, sqs = self.client("sns"), self.client("sqs")
        arn = str(sns.create_topic(Name=name)["TopicArn"])
        sqs.create_queue(QueueName=LOG_QUEUE)
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{LOG_QUEUE}"
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
        return arn

    def queue(self, name: str) -> str:
        return str(self.client("sqs").create_queue(QueueName=name)["QueueUrl"])

    def buckets(self) -> list[str]:
        return [one["Name"] for one in self.client("s3").list_buckets()["Buckets"]]

    def contents(self) -> dict[str, Any]:
        """All objects and messages, by URI."""
        s3, sqs = self.client("s3"), self.client("sqs")
        found: dict[str, Any] = {}
        for bucket in self.buckets():
            for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
                body = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
                found[f"s3://{bucket}/{one['Key']}"] = body.decode(errors="replace")
        for url in sqs.list_queues().get("QueueUrls", ()):
            name = url.rpartition("/")[2]
            found[f"sqs://{name}"] = sorted(self._messages(sqs, url, is_log=name == LOG_QUEUE))
        return found

    def _messages(self, sqs: Any, url: str, *, is_log: bool) -> Iterator[str]:
        while True:
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=60,
                MessageAttributeNames=["All"],
            )
            if not (messages := answer.get("Messages", ())):
                return
            for one in messages:
                if is_log:
                    body = json.loads(one["Body"])
                    yield f"{body.get('Subject')}: {body['Message']}"
                else:
                    names = {
                        name: value["StringValue"]
                        for name, value in one.get("MessageAttributes", {}).items()
                    }
                    yield f"{one['Body']} {json.dumps(names, sort_keys=True)}"


@contextmanager
def aws_server() -> Iterator[Aws]:
    """A moto server of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
