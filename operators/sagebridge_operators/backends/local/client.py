"""boto3 clients whose requests the local backend answers in this process.

They are real boto3 clients, with validation, waiters, paginators and typed errors. No request
leaves the process, and no AWS configuration, profile or credentials are read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from sagebridge_operators.backends.local import ROLE
from sagebridge_operators.backends.local.api import REGION, Answer, ApiError, Request, json_answer
from sagebridge_operators.backends.local.aws_identity import IAM, STS, Identity
from sagebridge_operators.backends.local.callback_api import Callbacks
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.endpoint_api import Endpoints
from sagebridge_operators.backends.local.job_api import Jobs
from sagebridge_operators.backends.local.lambda_api import Lambda
from sagebridge_operators.backends.local.lineage_records import Lineage
from sagebridge_operators.backends.local.model_registry import Registry
from sagebridge_operators.backends.local.runtime_api import Runtime
from sagebridge_operators.backends.local.s3 import S3
from sagebridge_operators.backends.local.sqs import SQS
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.backends.service_models import share
from sagebridge_operators.run_errors import NotRunnable

# The part of the SageMaker API that the local backend supports.
#
# Error codes and messages are AWS's if known, because callers distinguish errors by them. The
# client validates the shape of a request; this module validates the rest.


class SageMaker:
    """The service for the folder ``home``; relative paths are relative to ``base``."""

    def __init__(self, home: Path, base: Path, region: str = REGION) -> None:
        records = Records(home / "records.db")
        self._operations = {
            **Jobs(home, base, region, records).operations(),
            **Registry(region, records).operations(),
            **Lineage(region, records).operations(),
            **Endpoints(base, region, records).operations(),
            **Callbacks(home, base).operations(),
        }

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The response of an operation such as CreateTrainingJob; times are epoch seconds.

        Raises:
            ApiError: an error of the service.
        """
        if operation not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise ApiError(
                "UnknownOperationException",
                f"the local backend does not support {operation} (it supports {known})",
            )
        return self._operations[operation](request)

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request of the JSON 1.1 protocol."""
        return json_answer(request, self.call)


class Service(Protocol):
    """One AWS service on this machine."""

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request; errors of the service are responses too."""


SERVICES: Mapping[str, Callable[[Endpoint], Service]] = {
    "lambda": lambda endpoint: Lambda(endpoint.home, endpoint.base, endpoint.region),
    "s3": lambda endpoint: S3(FolderStore(endpoint.home / "s3", endpoint.base), endpoint.region),
    "sagemaker": lambda endpoint: SageMaker(endpoint.home, endpoint.base, endpoint.region),
    "sts": lambda endpoint: Identity(STS, endpoint.role),
    "iam": lambda endpoint: Identity(IAM, endpoint.role),
    "sagemaker-runtime": lambda endpoint: Runtime(
        Endpoints(endpoint.base, endpoint.region, Records(endpoint.home / "records.db"))
    ),
    "sqs": lambda endpoint: SQS(endpoint.home),
}
"""The services of this machine, by boto3's names."""
_ENDPOINT = "https://sagebridge.invalid"
_session_lock = Lock()


class Endpoint:
    """All services of the folder ``home`` behind one address, without boto3.

    ``role`` is the ARN of the caller's role.
    """

    home: Path
    base: Path
    region: str
    role: str

    def __init__(self, home: Path, base: Path, region: str = REGION, role: str = ROLE) -> None:
        self.home, self.base, self.region, self.role = home, base, region, role
        self._service = cache(lambda name: SERVICES[name](self))

    def answer(
        self, service: str, method: str, url: str, headers: Mapping[str, str], body: IO[bytes]
    ) -> Answer:
        """The response of a service in ``SERVICES`` to an HTTP request."""
        parts = urlsplit(url)
        request = Request(
            method,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in headers.items()},
            body,
        )
        return self._service(service).answer(request)


def client(service: str, home: Path, base: Path, region: str = REGION) -> Any:
    """A boto3 client of a service in ``SERVICES`` for the folder ``home``.

    Raises:
        NotRunnable: another service.
    """
    if service not in SERVICES:
        raise NotRunnable(f"the AWS service {service!r} on this machine")
    from botocore import UNSIGNED
    from botocore.awsrequest import AWSResponse
    from botocore.config import Config
    from urllib3.response import HTTPResponse

    endpoint = Endpoint(home, base, region)

    # botocore sends no request if a before-send handler returns a response (botocore/endpoint.py).
    def answer(request: Any, **_: object) -> AWSResponse:
        headers = {name: _str(value) for name, value in request.headers.items()}
        body = _stream(request.body)
        answer = endpoint.answer(service, request.method, request.url, headers, body)
        raw: Any = HTTPResponse(
            answer.body,
            headers=answer.headers,
            status=answer.status,
            preload_content=False,
            request_method=request.method,
        )
        return AWSResponse(request.url, answer.status, raw.headers, raw)

    config = Config(
        # Standard mode appends "(reached max retries: 0)" to each message: botocore/exceptions.py,
        # ClientError._get_retry_info.
        retries={"mode": "legacy", "max_attempts": 0},
        s3={"addressing_style": "path"},
        signature_version=UNSIGNED,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with _session_lock:
        made = _session().client(service, region_name=region, endpoint_url=_ENDPOINT, config=config)
    made.meta.events.register(f"before-send.{service}", answer)
    return made


@cache
def _session() -> Any:
    """A session with botocore's defaults, without configuration files and environment variables."""
    import os

    import boto3
    import botocore.session
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES

    # The misspelled name is botocore's (botocore/configprovider.py).
    variables = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    return boto3.Session(botocore_session=share(botocore.session.Session(variables)))


def _stream(body: Any) -> IO[bytes]:
    if hasattr(body, "read"):
        return body  # type: ignore[no-any-return]
    return io.BytesIO(body.encode() if isinstance(body, str) else body or b"")


def _str(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
