"""AWS through boto3. Credentials come from the caller's session, else from boto3's own chain."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import Any

from sagebridge_operators.run_errors import StoreError

ClientFactory = Callable[[str], Any]


class AwsBackend:
    """``clients`` makes a boto3 client of a service; an orchestrator passes its connection's."""

    name = "aws"
    poll_seconds = (5.0, 30.0)
    default_role: str | None = None

    def __init__(self, clients: ClientFactory | None = None) -> None:
        self._make = clients or _default_clients()
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def read_object(self, uri: str) -> bytes:
        from botocore.exceptions import ClientError

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return bytes(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "NoSuchBucket", "404"):
                raise StoreError(uri, "Amazon S3", "no such object") from None
            if code in ("AccessDenied", "403"):
                raise StoreError(uri, "Amazon S3", str(error)) from None
            raise

    @cached_property
    def _account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def arn(self, resource: str) -> str:
        region = self.client("sagemaker").meta.region_name
        partition = self.client("sagemaker").meta.partition
        return f"arn:{partition}:sagemaker:{region}:{self._account}:{resource}"

    def job_log(self, kind: str, name: str, position: int) -> tuple[list[str], int]:
        """Nothing: a job's lines stay in its CloudWatch log group."""
        del kind, name
        return [], position


def _default_clients() -> ClientFactory:
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    config = Config(retries={"mode": "standard", "max_attempts": 8})
    return lambda service: session.client(service, config=config)  # type: ignore[call-overload]
