"""What a test does with a server: make clients, read requests, add faults and job scripts.

``FaultyAws`` in ``server.py`` runs in the test's process. ``RemoteAws`` controls a server in
another process over HTTP. Both have the methods of ``AwsControl``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import boto3

from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.protocol import REGION
from tests.faulty_aws.request_log import RequestRecord, select

ACCESS_KEY = "AKIALOOPBACKONLY"
REPOSITORY = Path(__file__).parents[2]
_STARTS_WITHIN = 30.0
_SESSION_LOCK = threading.Lock()


@cache
def _session() -> boto3.Session:
    """One session for all clients: each session parses SageMaker's API model again (a second)."""
    return boto3.Session()


class AwsControl(ABC):
    """A fake AWS as a test uses it."""

    url: str

    @abstractmethod
    def all_requests(self) -> list[RequestRecord]:
        """Every request since the start or the last ``clear_requests``, by time of arrival."""

    @abstractmethod
    def clear_requests(self) -> None: ...

    @abstractmethod
    def add_faults(self, *rules: FaultRule) -> None:
        """Append rules. Their ``start`` counts from now."""

    @abstractmethod
    def clear_faults(self) -> None: ...

    @abstractmethod
    def add_scripts(self, *scripts: JobScript) -> None: ...

    @abstractmethod
    def clear_scripts(self) -> None: ...

    @abstractmethod
    def resources(self, kind: str = "*", name: str = "*") -> list[str]:
        """The names of the SageMaker resources that match these globs, oldest first.

        ``kind`` is TrainingJob, Model, ModelPackage and so on.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: resources, objects, requests, faults and scripts."""

    def requests(
        self, operation: str = "*", name: str = "*", *, service: str = "*"
    ) -> list[RequestRecord]:
        """The requests that match these globs, failed ones too."""
        return select(self.all_requests(), service, operation, name)

    def count(self, operation: str = "*", name: str = "*", *, service: str = "*") -> int:
        """How many matching requests were carried out, including those whose answer was lost."""
        return sum(record.done for record in self.requests(operation, name, service=service))

    def client(
        self, service: str, *, access_key: str = ACCESS_KEY, region: str = REGION, **options: Any
    ) -> Any:
        """A boto3 client of this server. ``options`` go to ``Session.client``."""
        make: Any = _session().client
        with _SESSION_LOCK:
            return make(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id=access_key,
                aws_secret_access_key="secret",
                **options,
            )

    def create_bucket(self, name: str) -> None:
        """Create an S3 bucket. As in S3, objects can be put only into an existing one."""
        location = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=location)

    def put_json(self, objects: Mapping[str, Any]) -> None:
        """Put JSON objects into S3, by URI; creates their buckets."""
        for uri, document in objects.items():
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            self.create_bucket(bucket)
            body = json.dumps(document).encode()
            self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def environment(self, access_key: str = ACCESS_KEY) -> dict[str, str]:
        """Environment variables that make another process's boto3 clients use this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class RemoteAws(AwsControl):
    """A server in another process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = build_opener(ProxyHandler({}))

    def all_requests(self) -> list[RequestRecord]:
        return [RequestRecord(**one) for one in self._call("GET", "requests")]

    def clear_requests(self) -> None:
        self._call("DELETE", "requests")

    def add_faults(self, *rules: FaultRule) -> None:
        self._call("POST", "faults", [rule.to_json() for rule in rules])

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def add_scripts(self, *scripts: JobScript) -> None:
        self._call("POST", "scripts", [script.to_json() for script in scripts])

    def clear_scripts(self) -> None:
        self._call("DELETE", "scripts")

    def resources(self, kind: str = "*", name: str = "*") -> list[str]:
        return list(self._call("GET", f"resources?{urlencode({'kind': kind, 'name': name})}"))

    def reset(self) -> None:
        self._call("POST", "reset")

    def _call(self, method: str, path: str, body: Sequence[Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/_test/{path}", data=data, method=method)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise ValueError(error.read().decode()) from error


@contextmanager
def run_process(folder: Path) -> Iterator[RemoteAws]:
    """Run a server in its own process. Its port file is written to ``folder``."""
    port_file = folder / "faulty-aws-port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.faulty_aws", "--port-file", str(port_file)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        until = time.monotonic() + _STARTS_WITHIN
        while not port_file.exists():
            assert process.poll() is None, "the server exited"
            assert time.monotonic() < until, "the server did not start in time"
            time.sleep(0.05)
        yield RemoteAws(f"http://127.0.0.1:{port_file.read_text()}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
