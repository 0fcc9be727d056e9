"""The part of the S3 API that the local store supports, as REST-XML.

A bucket is created with its first object. Features that a folder cannot store (user metadata,
ACLs, versions) are rejected.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import mimetypes
import re
import shutil
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

from sagebridge_operators.backends.local.api import CANNOT_STORE, REGION, Answer, ApiError, Request
from sagebridge_operators.backends.local.store import BUCKET, FolderStore, StoredObject
from sagebridge_operators.backends.local.streams import file_part
from sagebridge_operators.backends.local.xml_answers import Content, xml_answer
from sagebridge_operators.lifecycle.file_locks import hold
from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import BadUri, ObjectNotFound, StoreError

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
PAGE = 1000
# Supported query parameters: read by their operation, or without effect.
PLAIN = {
    *("x-id", "list-type", "prefix", "delimiter", "max-keys", "encoding-type", "fetch-owner"),
    *("continuation-token", "start-after", "marker", "location", "delete", "versioning"),
    *("uploads", "uploadId", "partNumber"),
}
_SMALL = 8 << 20
"""Bytes; boto3 uploads larger files in parts, whose ETag is not the MD5 of the content."""
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a listing: an object, or a common prefix if ``stored`` is None."""

    text: str
    stored: StoredObject | None


class S3:
    """The service for the objects in ``store``."""

    def __init__(self, store: FolderStore, region: str = REGION) -> None:
        self.store, self.region = store, region

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request with the bucket in its path."""
        bucket, _, key = unquote(request.path.removeprefix("/")).partition("/")
        try:
            self._check(request)
            return self._operation(request, bucket, key)
        except ApiError as error:
            return _error(request, error)
        except ObjectNotFound as missing:
            if (self.store.root / bucket).is_dir():
                return _error(request, ApiError("NoSuchKey", str(missing), 404))
            return _error(request, _no_bucket(bucket))
        except BadUri as bad:
            return _error(request, ApiError("InvalidURI", str(bad)))
        except (StoreError, OSError) as failed:
            return _error(request, ApiError("InternalError", str(failed), CANNOT_STORE))

    def _check(self, request: Request) -> None:
        unknown = [
            name
            for name in request.query
            if name not in PLAIN and not name.startswith(("response-", "X-Amz-"))
        ]
        metadata = [name for name in request.headers if name.startswith("x-amz-meta-")]
        conditions = [name for name in ("if-match", "if-none-match") if name in request.headers] * (
            request.method not in ("GET", "HEAD", "PUT")
        )
        if unsupported := unknown + metadata + conditions:
            what = ", ".join(unsupported)
            raise ApiError("NotImplemented", f"the local store does not support {what}", 501)

    def _operation(self, request: Request, bucket: str, key: str) -> Answer:
        query, method = request.query, request.method
        uri = f"s3://{bucket}/{key}"
        if not bucket:
            return self._list_buckets()
        if not key:
            return self._bucket_operation(request, bucket)
        if "uploads" in query and method == "POST":
            return self._start_upload(bucket, key)
        if "uploadId" in query:
            return self._upload_operation(request, bucket, key)
        if method == "PUT":
            if source := request.headers.get("x-amz-copy-source"):
                return self._copy(source, uri)
            with self._only_if(request, uri):
                self.store.write_from(uri, lambda file: shutil.copyfileobj(request.body, file))
            return Answer(headers={"ETag": self._etag(uri)})
        if method in ("GET", "HEAD"):
            return self._get(request, uri)
        if method == "DELETE":
            self.store.delete(uri)
            return Answer(204)
        raise ApiError("MethodNotAllowed", f"{method} {uri}", 405)

    @contextmanager
    def _only_if(self, request: Request, uri: str) -> Iterator[None]:
        """Check If-Match and If-None-Match of PutObject, and hold the lock for such writes."""
        expected = request.headers.get("if-match"), request.headers.get("if-none-match")
        if expected == (None, None):
            yield
            return
        with hold(self.store.root / ".conditional.lock", fcntl.LOCK_EX):
            etag = self._etag(uri) if self.store.path_of(uri).is_file() else ""
            if (expected[0] is not None and expected[0] != etag) or (expected[1] == "*" and etag):
                raise ApiError("PreconditionFailed", f"the ETag of {uri} does not match", 412)
            yield

    def _bucket_operation(self, request: Request, bucket: str) -> Answer:
        query, method = request.query, request.method
        folder = self.store.path_of(f"s3://{bucket}")
        if method == "PUT" and not query:
            make_private(folder)
            return Answer(headers={"Location": f"/{bucket}"})
        if not folder.is_dir():
            raise _no_bucket(bucket)
        if method == "HEAD":
            return Answer(headers={"x-amz-bucket-region": self.region})
        if method == "GET" and "location" in query:
            return _xml("LocationConstraint", None if self.region == REGION else self.region)
        if method == "GET" and "versioning" in query:
            return _xml("VersioningConfiguration", None)
        if method == "GET":
            return self._list(request, bucket)
        if method == "POST" and "delete" in query:
            return self._delete_many(request, bucket)
        if method == "DELETE":
            if self.store.list(f"s3://{bucket}/"):
                raise ApiError("BucketNotEmpty", f"the bucket {bucket} is not empty", 409)
            shutil.rmtree(folder)
            return Answer(204)
        raise ApiError("MethodNotAllowed", f"{method} s3://{bucket}", 405)

    def _list_buckets(self) -> Answer:
        folders = self.store.root.iterdir() if self.store.root.is_dir() else ()
        buckets = [
            {"Name": folder.name, "CreationDate": _time(folder.stat().st_mtime)}
            for folder in sorted(folders)
            if folder.is_dir() and BUCKET.fullmatch(folder.name)
        ]
        return _xml("ListAllMyBucketsResult", {"Buckets": {"Bucket": buckets}})

    def _list(self, request: Request, bucket: str) -> Answer:
        query = request.query
        second = query.get("list-type") == "2"
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start = "continuation-token" if "continuation-token" in query else "start-after"
        after = query.get(start if second else "marker", "")
        limit = min(int(query.get("max-keys", PAGE)), PAGE)
        head = f"s3://{bucket}/"
        entries = _entries(self.store.list(head + prefix), head, prefix, delimiter, after)
        shown, more = entries[:limit], len(entries) > limit
        encoded = quote if query.get("encoding-type") == "url" else str

        found: dict[str, Any] = {"Name": bucket, "Prefix": encoded(prefix), "MaxKeys": str(limit)}
        found["IsTruncated"] = str(more).lower()
        if "encoding-type" in query:
            found["EncodingType"] = query["encoding-type"]
        if delimiter:
            found["Delimiter"] = encoded(delimiter)
        if second:
            found["KeyCount"] = str(len(shown))
        if more and shown:
            last = shown[-1].text
            found |= {"NextContinuationToken": last} if second else {"NextMarker": encoded(last)}
        prefixes = [one.text for one in shown if one.stored is None]
        found["CommonPrefixes"] = [{"Prefix": encoded(one)} for one in prefixes]
        contents: list[dict[str, str]] = []
        for one in shown:
            if one.stored is not None:
                with suppress(FileNotFoundError):  # another job has deleted it
                    contents.append(
                        {
                            "Key": encoded(one.text),
                            "LastModified": _time(one.stored.modified),
                            "ETag": _etag_of(one.stored.path),
                            "Size": str(one.stored.size),
                            "StorageClass": "STANDARD",
                        }
                    )
        found["Contents"] = contents
        return _xml("ListBucketResult", found)

    def _delete_many(self, request: Request, bucket: str) -> Answer:
        body = _parse(request.body)
        deleted, errors = [], []
        for item in body.findall("Object"):
            key = _text(item, "Key")
            try:
                self.store.delete(f"s3://{bucket}/{key}")
            except StoreError as failed:
                errors.append({"Key": key, "Code": "InternalError", "Message": str(failed)})
            else:
                deleted.append({"Key": key})
        shown = [] if _text(body, "Quiet") == "true" else deleted
        return _xml("DeleteResult", {"Deleted": shown, "Error": errors})

    def _get(self, request: Request, uri: str) -> Answer:
        file = self.store.open(uri)
        path = self.store.path_of(uri)
        try:
            etag = _etag_of(path)
            size = file.seek(0, io.SEEK_END)
            headers = {
                "ETag": etag,
                "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True),
                "Accept-Ranges": "bytes",
                "Content-Type": mimetypes.guess_type(path.name)[0] or "binary/octet-stream",
            }
            if request.headers.get("if-match", etag) not in (etag, etag.strip('"'), "*"):
                raise ApiError("PreconditionFailed", f"the ETag of {uri} does not match", 412)
            if request.headers.get("if-none-match") in (etag, etag.strip('"'), "*"):
                return Answer(304, headers)
            first, last, status = 0, size - 1, 200
            if header := _RANGE.fullmatch(request.headers.get("range", "")):
                first, last = _range(header, size, uri)
                headers["Content-Range"], status = f"bytes {first}-{last}/{size}", 206
            headers["Content-Length"] = str(last - first + 1)
            if request.method == "HEAD":
                return Answer(status, headers)
            file.seek(first)
            body, file = file_part(file, last - first + 1), io.BytesIO()
            return Answer(status, headers, body)
        finally:
            file.close()

    def _copy(self, source: str, uri: str) -> Answer:
        with self.store.open(_source_uri(source)) as content:
            self.store.write_from(uri, lambda file: shutil.copyfileobj(content, file))
        return self._copied("CopyObjectResult", self.store.path_of(uri))

    def _copied(self, name: str, path: Path) -> Answer:
        modified = _time(path.stat().st_mtime)
        return _xml(name, {"ETag": _etag_of(path), "LastModified": modified})

    def _start_upload(self, bucket: str, key: str) -> Answer:
        upload = uuid.uuid4().hex
        self._uploads.write(f"{upload}/for", f"s3://{bucket}/{key}".encode())
        found = {"Bucket": bucket, "Key": key, "UploadId": upload}
        return _xml("InitiateMultipartUploadResult", found)

    @property
    def _uploads(self) -> FolderStore:
        """The parts of unfinished uploads, in a folder that no key can name."""
        return FolderStore(self.store.root / ".uploads", self.store.root / ".uploads")

    def _upload_operation(self, request: Request, bucket: str, key: str) -> Answer:
        upload, uri = request.query["uploadId"], f"s3://{bucket}/{key}"
        uploads = self._uploads
        if (
            not _UPLOAD.fullmatch(upload)
            or not uploads.exists(f"{upload}/for")
            or uploads.read(f"{upload}/for").decode() != uri
        ):
            raise ApiError("NoSuchUpload", f"upload {upload} of {uri} does not exist", 404)
        if request.method == "PUT":
            part = f"{upload}/{int(request.query['partNumber'])}"
            return self._put_part(request, uploads, part)
        if request.method == "POST":
            return self._complete(request, uploads, upload, bucket, key)
        if request.method == "DELETE":
            shutil.rmtree(uploads.base / upload, ignore_errors=True)
            return Answer(204)
        raise ApiError("NotImplemented", "the local store does not support ListParts", 501)

    def _put_part(self, request: Request, uploads: FolderStore, part: str) -> Answer:
        if source := request.headers.get("x-amz-copy-source"):
            with self.store.open(_source_uri(source)) as file:
                first, last = 0, file.seek(0, io.SEEK_END) - 1
                if header := _RANGE.fullmatch(request.headers.get("x-amz-copy-source-range", "")):
                    first, last = _range(header, last + 1, source)
                file.seek(first)
                content = file_part(file, last - first + 1)
                uploads.write_from(part, lambda copy: shutil.copyfileobj(content, copy))
            return self._copied("CopyPartResult", uploads.path_of(part))
        uploads.write_from(part, lambda file: shutil.copyfileobj(request.body, file))
        return Answer(headers={"ETag": _etag_of(uploads.path_of(part))})

    def _complete(
        self, request: Request, uploads: FolderStore, upload: str, bucket: str, key: str
    ) -> Answer:
        numbers = [int(_text(part, "PartNumber")) for part in _parse(request.body).findall("Part")]
        parts = [f"{upload}/{number}" for number in numbers]
        if numbers != sorted(set(numbers)) or not all(map(uploads.exists, parts)) or not parts:
            raise ApiError("InvalidPart", "parts are missing, repeated or out of order")

        def join(file: IO[bytes]) -> None:
            for part in parts:
                with uploads.open(part) as content:
                    shutil.copyfileobj(content, file)

        uri = f"s3://{bucket}/{key}"
        self.store.write_from(uri, join)
        shutil.rmtree(uploads.base / upload, ignore_errors=True)
        found = {"Bucket": bucket, "Key": key, "ETag": self._etag(uri)}
        return _xml("CompleteMultipartUploadResult", found)

    def _etag(self, uri: str) -> str:
        return _etag_of(self.store.path_of(uri))


def _entries(
    stored: list[StoredObject], head: str, prefix: str, delimiter: str, after: str
) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for found in stored:
        key = found.uri.removeprefix(head)
        name, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        text = prefix + name + cut if cut else key
        if text.encode() > after.encode():
            entries.setdefault(text, _Entry(text, None if cut else found))
    return sorted(entries.values(), key=lambda entry: entry.text.encode())


def _etag_of(path: Path) -> str:
    """The MD5 of a small file. As on AWS, that of a large one is something else, with a hyphen."""
    status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns
    if status.st_size <= _SMALL:
        return _md5(path, *version)
    digest = hashlib.md5(repr(version).encode(), usedforsecurity=False).hexdigest()
    return f'"{digest}-{status.st_size // _SMALL + 1}"'


@lru_cache(maxsize=4096)
def _md5(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return f'"{digest.hexdigest()}"'


def _range(header: re.Match[str], size: int, uri: str) -> tuple[int, int]:
    """The first and last byte of a Range header."""
    first, last = header.groups()
    if not first:
        start, end = max(0, size - int(last or 0)), size - 1
    else:
        start, end = int(first), min(int(last or size - 1), size - 1)
    if start > end:
        raise ApiError("InvalidRange", f"{uri} has {size} bytes", 416)
    return start, end


def _source_uri(header: str) -> str:
    path, _, version = header.partition("?")
    if version:
        raise ApiError("NotImplemented", "the local store does not support versions", 501)
    return f"s3://{unquote(path).removeprefix('/')}"


def _no_bucket(bucket: str) -> ApiError:
    return ApiError("NoSuchBucket", f"the bucket {bucket} does not exist", 404)


def _time(epoch: float) -> str:
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _xml(name: str, content: Content) -> Answer:
    return xml_answer(name, content, NAMESPACE)


def _error(request: Request, error: ApiError) -> Answer:
    if request.method == "HEAD":
        return Answer(error.status)
    found = {"Code": error.code, "Message": error.message}
    return xml_answer("Error", found, status=error.status)


def _parse(body: IO[bytes]) -> ET.Element:
    try:
        root = ET.fromstring(body.read())  # noqa: S314 - expat limits entity expansion
    except ET.ParseError as error:
        raise ApiError("MalformedXML", str(error)) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _text(parent: ET.Element, name: str) -> str:
    return parent.findtext(name) or ""
