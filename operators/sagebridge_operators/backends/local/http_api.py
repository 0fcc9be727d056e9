"""The services of this machine for signed HTTP requests, whatever server receives them.

``HttpApi.answer`` checks the signature of a request and passes it to ``Endpoint``. Every response,
also to a bad request, has the form of the service's protocol, since clients parse it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
import traceback
from collections.abc import Callable, Mapping
from typing import IO
from urllib.parse import parse_qsl

from sagebridge_operators.backends.local.api import TARGET, Answer, ApiError
from sagebridge_operators.backends.local.aws_identity import query_error
from sagebridge_operators.backends.local.aws_keys import Keys
from sagebridge_operators.backends.local.client import SERVICES, Endpoint
from sagebridge_operators.backends.local.http_signatures import (
    UNSIGNED,
    ChunkSignatures,
    Signature,
    check_signature,
    claimed_signature,
)
from sagebridge_operators.backends.local.streams import CHECKSUMS, checked, chunks
from sagebridge_operators.backends.local.xml_answers import xml_answer

LARGEST = 16 << 20
"""Bytes of a request to a service other than S3; AWS's own limits are smaller."""
CHUNKS_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKS_SIGNED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_CHECKSUM = "x-amz-checksum-"
_FORM = "application/x-www-form-urlencoded"
_OWN_SITES = ("none", "same-origin")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRESIGNED = ("X-Amz-", "AWSAccessKeyId=", "Signature=", "Expires=")


class HttpApi:
    """Answers requests that are signed with ``keys``.

    Args:
        endpoint: the services.
        keys: the only keys that are accepted.
        origin: the address of the server, such as ``http://127.0.0.1:8080``.
        observe: called with the service, the path and the status of every answered request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        origin: str,
        observe: Callable[[str, str, int], object] = lambda service, path, status: None,
    ) -> None:
        self._endpoint, self._keys, self._observe = endpoint, keys, observe
        self._origin, self._host = origin, origin.partition("://")[2]

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: IO[bytes]
    ) -> Answer:
        """The response to a request; the caller closes its body.

        Args:
            method: the HTTP method.
            target: the path and query as they were sent.
            headers: the headers, with lower-case names; repeated ones are joined by commas.
            body: the body.
        """
        service = "s3"
        try:
            self._check_origin(headers)
            path, _, query = target.partition("?")
            claimed = claimed_signature(query, headers)
            service = _service(claimed, headers)
            content = self._checked_body(claimed, method, target, headers, body)
            if service not in SERVICES:
                raise _unavailable(service, method, path, headers, content)
            # Signatures are not parameters of an operation.
            rest = [pair for pair in query.split("&") if not pair.startswith(_PRESIGNED)]
            url = f"{path}?{'&'.join(rest)}"
            answer = self._endpoint.answer(service, method, url, headers, content)
            self._observe(service, path, answer.status)
        except ApiError as error:
            return error_answer(error, service, method, headers)
        except Exception as error:  # noqa: BLE001 - clients expect the form of the protocol
            traceback.print_exc()
            failed = ApiError("InternalFailure", repr(error), 500)
            return error_answer(failed, service, method, headers)
        return answer

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Reject requests of web pages, also of those that reach this server by DNS rebinding."""
        if headers.get("host") != self._host:
            raise ApiError("AccessDenied", f"the host of this server is {self._host}", 403)
        site = headers.get("sec-fetch-site", "none")
        if headers.get("origin", self._origin) != self._origin or site not in _OWN_SITES:
            raise ApiError("AccessDenied", "requests of other web pages are not answered", 403)

    def _checked_body(
        self,
        claimed: Signature,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: IO[bytes],
    ) -> IO[bytes]:
        """The content of a request with the right signature."""
        given = headers.get("x-amz-content-sha256")
        if claimed.service != "s3":
            content = body.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise ApiError("RequestEntityTooLarge", f"more than {LARGEST} bytes", 413)
            found = hashlib.sha256(content).hexdigest()
            check_signature(self._keys, claimed, method, target, headers, found)
            if given not in (None, found, UNSIGNED):
                raise _wrong_sha256()
            return io.BytesIO(content)
        if given is None and not claimed.is_presigned:
            raise ApiError("InvalidRequest", "the header x-amz-content-sha256 is missing")
        kind = given or UNSIGNED
        check_signature(self._keys, claimed, method, target, headers, kind)
        trailers: dict[str, str] = {}
        if _SHA256.fullmatch(kind):
            return checked(body, "sha256", lambda: bytes.fromhex(kind), _wrong_sha256())
        if kind in CHUNKS_SIGNED:
            return chunks(body, trailers, ChunkSignatures(self._keys, claimed))
        if kind == CHUNKS_UNSIGNED:
            return _with_checksum(
                chunks(body, trailers), headers.get("x-amz-trailer", ""), trailers
            )
        if kind != UNSIGNED:
            raise ApiError("InvalidRequest", f"unknown x-amz-content-sha256: {kind}")
        name = next((name for name in headers if name.startswith(_CHECKSUM)), "")
        return _with_checksum(body, name, headers)


def _with_checksum(body: IO[bytes], name: str, fields: Mapping[str, str]) -> IO[bytes]:
    """Checks the checksum in a field, unless Python has no such function (CRC32C, CRC64NVME)."""
    checksum = name.strip().lower().removeprefix(_CHECKSUM)
    if checksum not in CHECKSUMS:
        return body

    def expected() -> bytes:
        try:
            return base64.b64decode(fields.get(f"{_CHECKSUM}{checksum}", ""))
        except binascii.Error:
            return b""

    error = ApiError("BadDigest", f"the body does not have the {checksum} checksum given")
    return checked(body, checksum, expected, error)


def _wrong_sha256() -> ApiError:
    return ApiError("XAmzContentSHA256Mismatch", "the body does not have the signed SHA-256")


def _service(claimed: Signature, headers: Mapping[str, str]) -> str:
    """The service of a request. SageMaker's runtime has the signing name of SageMaker."""
    if claimed.service == "sagemaker" and TARGET not in headers:
        return "sagemaker-runtime"
    return claimed.service


def _unavailable(
    service: str, method: str, path: str, headers: Mapping[str, str], content: IO[bytes]
) -> ApiError:
    operation = headers.get(TARGET, "").rpartition(".")[2]
    if headers.get("content-type", "").startswith(_FORM):
        operation = dict(parse_qsl(content.read().decode(errors="replace"))).get("Action", "")
    return ApiError(
        "UnknownOperationException",
        f"{service} is not available on this machine (called: {operation or f'{method} {path}'}; "
        f"available: {', '.join(sorted(SERVICES))}); use --backend aws",
    )


def error_answer(error: ApiError, service: str, method: str, headers: Mapping[str, str]) -> Answer:
    """An error in the form that a client of the service parses."""
    if method == "HEAD":
        return Answer(error.status)
    if service == "s3":
        found = {"Code": error.code, "Message": error.message}
        return xml_answer("Error", found, status=error.status)
    if headers.get("content-type", "").startswith(_FORM):
        return query_error(error)
    fields = {"__type": error.code, "message": error.message}
    more, content = {"Content-Type": "application/json"}, json.dumps(fields).encode()
    if protocol := headers.get("smithy-protocol"):
        more, content = {"Content-Type": "application/cbor", "smithy-protocol": protocol}, b"\xa2"
        content += b"".join(map(_cbor_text, (word for pair in fields.items() for word in pair)))
    length = {"Content-Length": str(len(content)), "x-amzn-ErrorType": error.code}
    return Answer(error.status, more | length, io.BytesIO(content))


def _cbor_text(text: str) -> bytes:
    """A text in CBOR, the format of CloudWatch's client (RFC 8949, 3.1)."""
    content = text.encode()
    return b"\x79" + len(content).to_bytes(2) + content
