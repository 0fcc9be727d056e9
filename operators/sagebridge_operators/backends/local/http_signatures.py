"""AWS signatures of requests: in a header, or in the query of a presigned URL.

Rules: "Authenticating Requests (AWS Signature Version 4)" in the S3 API reference. The expected
signature comes from the code with which botocore's clients sign. They use version 4, and version 2
for presigned URLs of S3 (``_default_s3_presign_to_sigv2`` in botocore/client.py).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sagebridge_operators.backends.local.api import ApiError
from sagebridge_operators.backends.local.aws_keys import Keys

ALGORITHM = "AWS4-HMAC-SHA256"
VERSION_2 = "-/-/s3/-"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = timedelta(minutes=15)
WEEK = timedelta(days=7)
_HEADER = re.compile(
    rf"{ALGORITHM} +Credential=(?P<Credential>[^, ]+), *SignedHeaders=(?P<SignedHeaders>[^, ]+), *"
    r"Signature=(?P<Signature>[0-9a-f]{64})"
)
_EMPTY = hashlib.sha256().hexdigest()
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


@dataclass(frozen=True, slots=True)
class Signature:
    """The parts of a signature that a request claims to have.

    ``expires`` is the lifetime of a presigned URL; of one in version 2 ``end`` is the end of it, in
    epoch seconds.
    """

    credential: str
    signed: tuple[str, ...]
    value: str
    timestamp: str = ""
    expires: timedelta | None = None
    end: int | None = None

    @property
    def is_presigned(self) -> bool:
        return self.expires is not None or self.end is not None

    @property
    def service(self) -> str:
        """The service that the request is for, in its signing name."""
        return self.scope.split("/")[2]

    @property
    def scope(self) -> str:
        return self.credential.partition("/")[2]


def claimed_signature(query: str, headers: Mapping[str, str]) -> Signature:
    """The signature of a request, not yet checked. Raises ApiError if it is missing."""
    found = dict(parse_qsl(query))
    if found.keys() >= {"AWSAccessKeyId", "Signature", "Expires"} and found["Expires"].isdecimal():
        credential = f"{found['AWSAccessKeyId']}/{VERSION_2}"
        return Signature(credential, (), found["Signature"], end=int(found["Expires"]))
    timestamp = found.get("X-Amz-Date", "")
    if "X-Amz-Signature" in found:
        fields = {name.removeprefix("X-Amz-"): value for name, value in found.items()}
        given = fields.get("Expires", "")
        expires = timedelta(seconds=int(given)) if given.isdigit() and len(given) < 7 else None
        if fields.get("Algorithm") != ALGORITHM or expires is None or expires > WEEK:
            raise ApiError("AuthorizationQueryParametersError", "the presigned URL is not valid")
    else:
        header = _HEADER.fullmatch(headers.get("authorization", ""))
        if not header:
            problem = f"only requests signed with {ALGORITHM} are answered"
            raise ApiError("AccessDenied", problem, 403)
        fields, expires = header.groupdict(), None
        timestamp = headers.get("x-amz-date", "")
    scope = fields.get("Credential", "").split("/")
    if len(scope) != 5 or scope[1] != timestamp[:8] or scope[4] != "aws4_request":
        raise ApiError("AuthorizationHeaderMalformed", "the credential scope is not valid")
    signed = tuple(fields.get("SignedHeaders", "").split(";"))
    return Signature("/".join(scope), signed, fields["Signature"], timestamp, expires)


def check_signature(
    keys: Keys,
    claimed: Signature,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body_hash: str,
) -> None:
    """Compare a signature with the one that these keys make.

    Args:
        keys: the only keys that are accepted.
        claimed: the signature of the request.
        method: the HTTP method.
        target: the path and query as they were sent.
        headers: the headers, with lower-case names.
        body_hash: the SHA-256 of the body in hex, or the word that S3 allows instead.

    Raises:
        ApiError: the signature is wrong, too old or of other keys.
    """
    if not hmac.compare_digest(claimed.credential.partition("/")[0].encode(), keys.access.encode()):
        raise ApiError("InvalidAccessKeyId", "the access key is not one of this machine", 403)
    _check_time(claimed)
    unsigned = [name for name in headers if name.startswith("x-amz-") or name == "host"]
    unsigned = [name for name in unsigned if name not in claimed.signed]
    if claimed.end is None and unsigned:  # version 2 signs them all
        raise ApiError("AccessDenied", f"not signed: {', '.join(unsigned)}", 403)
    sign = _signature if claimed.end is None else _signature_2
    expected = sign(keys, claimed, method, target, headers, body_hash)
    if not hmac.compare_digest(expected.encode(), claimed.value.encode()):
        problem = "the signature does not match the request and the secret key of this machine"
        raise ApiError("SignatureDoesNotMatch", problem, 403)


def _check_time(claimed: Signature) -> None:
    if claimed.end is not None:
        if claimed.end < datetime.now(UTC).timestamp():
            raise _expired()
        return
    try:
        signed = datetime.strptime(claimed.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ApiError("AccessDenied", "the request has no valid X-Amz-Date", 403) from None
    age = datetime.now(UTC) - signed
    if claimed.expires is None and abs(age) > SKEW:
        raise ApiError("RequestTimeTooSkewed", "the request is more than 15 minutes off", 403)
    if claimed.expires is not None and not -SKEW < age <= claimed.expires:
        raise _expired()


def _expired() -> ApiError:
    return ApiError("AccessDenied", "the presigned URL has expired", 403)


def _signature(
    keys: Keys,
    claimed: Signature,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body_hash: str,
) -> str:
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    _, _, region, service, _ = claimed.credential.split("/")
    path, _, query = target.partition("?")
    rest = [pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature=")]
    request = AWSRequest(
        method,
        f"http://{headers['host']}{path}?{'&'.join(rest)}",
        {name: headers.get(name, "") for name in claimed.signed},
    )
    request.context["timestamp"] = claimed.timestamp
    kind = S3SigV4Auth if service == "s3" else SigV4Auth

    class Auth(kind):  # type: ignore[misc, valid-type]
        def headers_to_sign(self, request: AWSRequest) -> object:
            return request.headers

        def payload(self, request: AWSRequest) -> str:
            del request
            return body_hash

    auth = Auth(Credentials(keys.access, keys.secret), service, region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return str(auth.signature(text, request))


def _signature_2(
    keys: Keys,
    claimed: Signature,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body_hash: str,
) -> str:
    from botocore.auth import HmacV1QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    del body_hash

    class Auth(HmacV1QueryAuth):
        def _get_date(self) -> str:
            return str(claimed.end)

    request: Any = AWSRequest(method, headers=dict(headers))
    auth = Auth(Credentials(keys.access, keys.secret))
    return str(auth.get_signature(method, urlsplit(target), request.headers))


class ChunkSignatures:
    """Checks a body of signed chunks, each with a signature over the one before.

    Rules: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
    Chunks" in the S3 API reference.
    """

    def __init__(self, keys: Keys, claimed: Signature) -> None:
        key = f"AWS4{keys.secret}".encode()
        for part in claimed.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key, self._claimed, self._last = key, claimed, claimed.value
        self._given, self._content = "", hashlib.sha256()

    def begin(self, extension: str) -> None:
        """See ChunkCheck."""
        self._given = extension.removeprefix("chunk-signature=")
        self._content = hashlib.sha256()

    def update(self, content: memoryview) -> None:
        """See ChunkCheck."""
        self._content.update(content)

    def end(self) -> None:
        """See ChunkCheck."""
        self._compare("PAYLOAD", _EMPTY, self._content.hexdigest())

    def end_of_trailers(self, trailers: Mapping[str, str]) -> None:
        """See ChunkCheck."""
        fields = {name: value for name, value in trailers.items() if name != _TRAILER_SIGNATURE}
        if fields:
            self._given = trailers.get(_TRAILER_SIGNATURE, "")
            text = "".join(f"{name}:{value}\n" for name, value in sorted(fields.items()))
            self._compare("TRAILER", hashlib.sha256(text.encode()).hexdigest())

    def _compare(self, kind: str, *hashes: str) -> None:
        words = (f"{ALGORITHM}-{kind}", self._claimed.timestamp, self._claimed.scope, self._last)
        text = "\n".join((*words, *hashes)).encode()
        self._last = hmac.digest(self._key, text, "sha256").hex()
        if not hmac.compare_digest(self._last.encode(), self._given.encode()):
            raise ApiError("SignatureDoesNotMatch", "the signature of a chunk does not match", 403)
