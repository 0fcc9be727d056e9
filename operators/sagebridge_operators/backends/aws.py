"""AWS through boto3. Credentials come from the caller's session or from boto3's default chain."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import Any

from sagebridge_operators.backends.cloudwatch import CloudWatchLog
from sagebridge_operators.backends.service_models import share
from sagebridge_operators.run_errors import StoreError
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.callback import RESPONSE_QUEUE

ClientFactory = Callable[[str], Any]


def client_config(more: Any = None) -> Any:
    """The botocore Config of every client, on all engines.

    Attempts are few and timeouts short: the step repeats its requests itself, and a killed worker
    has only seconds to stop its job. The options in ``more`` take precedence.
    """
    from botocore.config import Config

    config = Config(
        connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}
    )
    return config if more is None else config.merge(more)


def config_of(service: str, config: Any) -> Any:
    """The Config of the client of a service.

    Calls to CloudWatch, which may fail, are short. A Lambda function runs for up to 15 minutes
    ("Lambda quotas" in its guide) before it answers, and botocore must not invoke it again.
    """
    from botocore.config import Config

    match service:
        case "logs":
            return config.merge(
                Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})
            )
        case "lambda":
            once = Config(read_timeout=905, retries={"total_max_attempts": 1}, tcp_keepalive=True)
            return config.merge(once)
        case "batch" | "databrew" | "emr" | "glue" | "rds" | "redshift":
            # Most of their operations have no client token: the step decides what is repeated.
            return config.merge(Config(retries={"total_max_attempts": 1}))
    return config


class AwsBackend:
    """Jobs on AWS.

    ``open_session`` returns a function from a service name to a boto3 client, with current
    credentials. It is called again after credentials have expired. An orchestrator passes its
    connection here. SAGEBRIDGE_ROLE is the role of jobs if neither pipeline nor step has one.
    """

    name = "aws"
    poll_seconds = (5.0, 30.0)
    has_experiments = True

    def __init__(self, open_session: Callable[[], ClientFactory] | None = None) -> None:
        self._open = open_session or _default_session
        self.default_role = os.environ.get("SAGEBRIDGE_ROLE") or None
        self._make: ClientFactory | None = None
        self._clients: dict[str, Any] = {}
        self._lock = Lock()

    @property
    def response_queue(self) -> str:
        """The URL of the response queue in SAGEBRIDGE_RESPONSE_QUEUE; empty if not set."""
        return os.environ.get(RESPONSE_QUEUE, "")

    def client(self, service: str) -> Any:
        """The boto3 client of a service, the same one until :meth:`renew`."""
        with self._lock:
            if service not in self._clients:
                self._make = self._make or self._open()
                self._clients[service] = self._make(service)
            return self._clients[service]

    def renew(self) -> None:
        """Forget all clients, so that the next ones have new credentials."""
        with self._lock:
            self._clients.clear()
            self._make = None

    def read_object(self, uri: str) -> bytes:
        """The object at an ``s3://`` URI.

        Raises:
            StoreError: it does not exist, or access is denied.
        """
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

    def invocation(self, token: str) -> None:
        """None: Lambda cannot describe an invocation."""

    def stop_invocation(self, token: str) -> None:
        """Nothing: Lambda cannot stop an invocation."""

    @cached_property
    def account(self) -> str:
        """The account of the credentials, from STS GetCallerIdentity."""
        return str(self.client("sts").get_caller_identity()["Account"])

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource, such as ``pipeline/x``."""
        region = self.client("sagemaker").meta.region_name
        partition = self.client("sagemaker").meta.partition
        return f"arn:{partition}:sagemaker:{region}:{self.account}:{resource}"

    def job_log(self, kind: str, name: str, position: int = 0) -> CloudWatchLog:
        """The log of a job in CloudWatch. Only types with a ``log_group`` have one."""
        return CloudWatchLog(lambda: self.client("logs"), JOB_TYPES[kind].log_group, name, position)


def _default_session() -> ClientFactory:
    return session_clients({})


def session_clients(options: dict[str, Any]) -> ClientFactory:
    """A client factory with boto3's default credentials; ``options`` are for ``boto3.Session``."""
    import boto3

    session = share(boto3.Session(**options))
    config = client_config()
    return lambda service: session.client(service, config=config_of(service, config))
