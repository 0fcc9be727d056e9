"""S3 objects in memory, addressed path-style.

Unsupported requests (ranges, copies, multipart uploads, versions) are answered with HTTP 501.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.faulty_aws.protocol import Answer, AwsError, Call, xml_answer

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_LISTED = 1000
_UNSUPPORTED_HEADERS = ("range", "x-amz-copy-source", "transfer-encoding")
_LIST_KEYS = frozenset(
    {"list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after"}
    | {"encoding-type", "fetch-owner"}
)


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    headers: dict[str, str]
    modified: float

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class S3Api:
    """Buckets with objects. A bucket must be created before it is used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, dict[str, _Object]] = {}
        self._operations: dict[str, Callable[[Call], Answer]] = {
            "CreateBucket": self._create_bucket,
            "HeadBucket": self._head_bucket,
            "ListBuckets": self._list_buckets,
            "ListObjectsV2": self._list_objects,
            "PutObject": self._put,
            "GetObject": self._get,
            "HeadObject": self._get,
            "DeleteObject": self._delete,
        }

    def answer(self, call: Call) -> Answer:
        """Raises AwsError."""
        listing = call.operation == "ListObjectsV2"
        # botocore names some operations in the query, as x-id=PutObject.
        unknown = call.http.query.keys() - {"x-id"} - (_LIST_KEYS if listing else set())
        unknown |= {name for name in _UNSUPPORTED_HEADERS if name in call.http.headers}
        if "aws-chunked" in call.http.headers.get("content-encoding", ""):
            unknown.add("aws-chunked")  # botocore sends it over HTTPS only
        if unknown or call.operation not in self._operations:
            what = f"{call.operation} with {sorted(unknown)}" if unknown else call.operation
            raise AwsError("NotImplemented", f"The fake S3 does not have {what}.", 501)
        with self._lock:
            return self._operations[call.operation](call)

    def clear(self) -> None:
        with self._lock:
            self._buckets.clear()

    def _bucket(self, call: Call) -> dict[str, _Object]:
        name = call.members["Bucket"]
        if name not in self._buckets:
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        return self._buckets[name]

    def _object(self, call: Call) -> _Object:
        found = self._bucket(call).get(call.members["Key"])
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return found

    def _create_bucket(self, call: Call) -> Answer:
        """Creating an existing bucket again succeeds, as in us-east-1."""
        self._buckets.setdefault(call.members["Bucket"], {})
        return Answer(headers={"Location": f"/{call.members['Bucket']}"})

    def _head_bucket(self, call: Call) -> Answer:
        self._bucket(call)
        return Answer(headers={"x-amz-bucket-region": call.region})

    def _list_buckets(self, call: Call) -> Answer:
        del call
        buckets = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in self._buckets)
        owner = "<Owner><ID>fake</ID></Owner>"
        return xml_answer(
            f"<ListAllMyBucketsResult {_NAMESPACE}>{owner}<Buckets>{buckets}</Buckets>"
            "</ListAllMyBucketsResult>"
        )

    def _put(self, call: Call) -> Answer:
        objects = self._bucket(call)
        key = call.members["Key"]
        if "IfNoneMatch" in call.members and key in objects:
            raise _precondition_failed("If-None-Match")
        if "IfMatch" in call.members:
            _check_match(call, self._object(call))
        kept = {
            name: value
            for name, value in call.http.headers.items()
            if name == "content-type" or name.startswith("x-amz-meta-")
        }
        objects[key] = _Object(call.http.body, kept, time.time())
        return Answer(headers={"ETag": objects[key].etag})

    def _get(self, call: Call) -> Answer:
        found = self._object(call)
        _check_match(call, found)
        headers = {
            "Content-Type": "binary/octet-stream",
            **{("Content-Type" if k == "content-type" else k): v for k, v in found.headers.items()},
            "ETag": found.etag,
            "Last-Modified": formatdate(found.modified, usegmt=True),
        }
        head = call.operation == "HeadObject"
        return Answer(200, b"" if head else found.body, headers, len(found.body))

    def _delete(self, call: Call) -> Answer:
        objects = self._bucket(call)
        if "IfMatch" in call.members:
            _check_match(call, self._object(call))
        objects.pop(call.members["Key"], None)
        return Answer(204)

    def _list_objects(self, call: Call) -> Answer:
        query = call.http.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = min(int(query.get("max-keys", _LISTED)), _LISTED)
        objects = self._bucket(call)
        # Keys below a common prefix are listed as that prefix, which has no object.
        listed: dict[str, str | None] = {}
        for key in sorted(objects):
            folder, found, _ = (
                key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            )
            shown = f"{prefix}{folder}{delimiter}" if found else key
            if key.startswith(prefix) and shown > after:
                listed.setdefault(shown, None if found else key)
        page = list(listed.items())[:most]
        encode = quote if query.get("encoding-type") == "url" else escape
        parts = [
            f"<Name>{call.members['Bucket']}</Name>",
            f"<Prefix>{encode(prefix)}</Prefix>",
            f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{most}</MaxKeys>",
            f"<IsTruncated>{str(len(listed) > most).lower()}</IsTruncated>",
        ]
        if encode is quote:
            parts.append("<EncodingType>url</EncodingType>")
        if page and len(listed) > most:
            parts.append(f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>")
        for shown, shown_key in page:
            if shown_key is None:
                parts.append(f"<CommonPrefixes><Prefix>{encode(shown)}</Prefix></CommonPrefixes>")
            else:
                parts.append(f"<Contents><Key>{encode(shown)}</Key>{_entry(objects[shown])}")
        return xml_answer(f"<ListBucketResult {_NAMESPACE}>{''.join(parts)}</ListBucketResult>")


def _entry(one: _Object) -> str:
    modified = datetime.fromtimestamp(one.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<LastModified>{modified}</LastModified><ETag>{escape(one.etag)}</ETag>"
        f"<Size>{len(one.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _check_match(call: Call, found: _Object) -> None:
    wanted = call.members.get("IfMatch", "*")
    if wanted != "*" and wanted.strip('"') != found.etag.strip('"'):
        raise _precondition_failed("If-Match")


def _precondition_failed(condition: str) -> AwsError:
    text = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", f"{text}: {condition}", 412)
