"""Parses AWS requests and formats answers the way botocore expects them.

SageMaker, EMR and SQS use JSON (the operation is in ``X-Amz-Target``), Lambda and EMR Serverless
JSON with REST paths, STS the query protocol (the operation is the form field ``Action``) and S3
REST with XML.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from botocore import session

ACCOUNT = "111122223333"
REGION = "eu-west-1"

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_ATTEMPT = re.compile(r"attempt=(\d+)")
_NAME_MEMBER = re.compile(r"(?:Create|Describe|Stop|Delete|Update)(\w+)")
_REST_JSON = ("lambda", "emr-serverless")
_NAMES = {
    "Invoke": "FunctionName",
    "AddJobFlowSteps": "Steps.0.Name",
    "RunJobFlow": "Name",
    "DescribeStep": "StepId",
    "CancelSteps": "StepIds.0",
    "DescribeCluster": "ClusterId",
    "TerminateJobFlows": "JobFlowIds.0",
    "StartJobRun": "name",
    "GetJobRun": "jobRunId",
    "CancelJobRun": "jobRunId",
    "CreateApplication": "name",
    "GetApplication": "applicationId",
    "StopApplication": "applicationId",
    "DeleteApplication": "applicationId",
}
"""The path of the resource's name in the members, for operations outside SageMaker."""
_S3_OBJECT = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
_S3_BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket"}
_S3_CONDITIONS = {"if-match": "IfMatch", "if-none-match": "IfNoneMatch"}


class AwsError(Exception):
    """An error answer: AWS's code and message, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """``path`` is as it was sent, ``query`` is decoded, header names are in lower case.

    ``proxied`` is True if the client uses the server as its HTTP proxy: it sent a whole URL.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    proxied: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``length`` replaces the body's length, as HEAD needs."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One AWS operation.

    ``name`` is the name of a job, model or group, ``GROUP/VERSION`` of a model package, or
    ``BUCKET/KEY`` of an object. ``attempt`` counts botocore's attempts at one call, from 1.
    """

    service: str
    operation: str
    name: str
    members: dict[str, Any]
    access_key: str
    region: str
    attempt: int
    http: HttpRequest


def parse_call(http: HttpRequest) -> Call:
    """Parse an HTTP request. Raises AwsError if a JSON body is malformed."""
    scope = _CREDENTIAL.search(http.headers.get("authorization", ""))
    access_key, region, service = scope.groups() if scope else ("", REGION, "")
    target = http.headers.get("x-amz-target", "")
    if target:
        operation = target.rpartition(".")[2]
        members = _json_members(http.body)
        name = _resource_name(operation, members)
    elif service in _REST_JSON:
        operation, members = _rest_operation(service, http)
        name = _resource_name(operation, members)
    elif http.method == "POST" and http.path == "/" and b"Action=" in http.body:
        members = dict(parse_qsl(http.body.decode()))
        operation, name = members.pop("Action"), ""
    else:
        operation, name, members = _s3_operation(http)
    attempt = _ATTEMPT.search(http.headers.get("amz-sdk-request", ""))
    return Call(
        service=service or ("sagemaker" if target else "s3"),
        operation=operation,
        name=name,
        members=members,
        access_key=access_key,
        region=region,
        attempt=int(attempt[1]) if attempt else 1,
        http=http,
    )


def json_answer(members: Mapping[str, Any]) -> Answer:
    """A JSON 1.1 answer; times are seconds since the epoch."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}
    return Answer(200, json.dumps(members).encode(), headers)


def xml_answer(text: str, status: int = 200) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Answer(status, body, {"Content-Type": "text/xml", "x-amz-request-id": "FAULTYAWS"})


def error_answer(http: HttpRequest, error: AwsError) -> Answer:
    """Format an error in the protocol of its request."""
    scope = _CREDENTIAL.search(http.headers.get("authorization", ""))
    if "x-amz-target" in http.headers or (scope and scope[3] in _REST_JSON):
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        headers = {**json_answer({}).headers, "x-amzn-ErrorType": error.code}
        return Answer(error.status, body, headers)
    if http.method == "HEAD":
        return Answer(error.status)
    details = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    request_id = "<RequestId>FAULTYAWS</RequestId>"
    if http.method == "POST":
        fault = "Sender" if error.status < 500 else "Receiver"
        details = f"<Error><Type>{fault}</Type>{details}</Error>{request_id}"
        return xml_answer(f"<ErrorResponse>{details}</ErrorResponse>", error.status)
    return xml_answer(f"<Error>{details}{request_id}</Error>", error.status)


def _json_members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError("SerializationException", str(error)) from error
    if not isinstance(members, dict):
        raise AwsError("SerializationException", "the body is not a JSON object")
    return members


def _resource_name(operation: str, members: Mapping[str, Any]) -> str:
    """The value of TrainingJobName for ``CreateTrainingJob``, and so on. ARNs lose their prefix.

    For a List operation it is the value of NameContains.
    """
    if operation in _NAMES:
        return _value_at(members, _NAMES[operation])
    if "QueueUrl" in members:
        return str(members["QueueUrl"]).rpartition("/")[2]
    if operation.startswith("List"):
        return str(members.get("NameContains", ""))
    found = _NAME_MEMBER.fullmatch(operation)
    key = f"{found[1]}Name" if found else ""
    if operation == "CreateModelPackage" and key not in members:
        key = "ModelPackageGroupName"
    return name_of(str(members.get(key, "")))


def _value_at(members: Any, path: str) -> str:
    for key in path.split("."):
        if key.isdigit():
            members = members[int(key)] if members else None
        else:
            members = (members or {}).get(key)
    return str(members or "")


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """The method, path and operation of each operation of a REST service."""
    model = session.get_session().get_service_model(service)
    routes = []
    for operation in map(str, model.operation_names):
        http = model.operation_model(operation).http
        path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(http["requestUri"]))
        routes.append((str(http["method"]), re.compile(path), operation))
    return routes


def _rest_operation(service: str, http: HttpRequest) -> tuple[str, dict[str, Any]]:
    """The operation of a method and path, and its members from path, query and body."""
    for method, pattern, operation in _routes(service):
        found = pattern.fullmatch(http.path)
        if method == http.method and found:
            path = {name: unquote(value) for name, value in found.groupdict().items()}
            body = _json_members(http.body)
            if operation == "Invoke":
                body = {"Payload": body}
            return operation, {**http.query, **body, **path}
    raise AwsError("UnknownOperationException", f"{http.method} {http.path}", 404)


def name_of(text: str) -> str:
    """The resource name from an ARN; a plain name is returned unchanged."""
    return text.split(":", 5)[5].partition("/")[2] if text.startswith("arn:") else text


def _s3_operation(http: HttpRequest) -> tuple[str, str, dict[str, Any]]:
    bucket, _, key = unquote(http.path).removeprefix("/").partition("/")
    members: dict[str, Any] = {"Bucket": bucket} if bucket else {}
    members |= {"Key": key} if key else {}
    members |= {
        _S3_CONDITIONS[name]: http.headers[name] for name in _S3_CONDITIONS if name in http.headers
    }
    if http.method == "PUT" and key:
        members["ContentLength"] = len(http.body)
    if not bucket:
        return "ListBuckets", "", members
    if not key:
        operation = _S3_BUCKET.get(http.method, http.method)
        if http.query.get("list-type") == "2":
            operation = "ListObjectsV2"
            members["Prefix"] = http.query.get("prefix", "")
        return operation, bucket, members
    return _S3_OBJECT.get(http.method, http.method), f"{bucket}/{key}", members
