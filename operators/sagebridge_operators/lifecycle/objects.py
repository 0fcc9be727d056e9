"""Small JSON objects in a local folder or in S3, with conditional writes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from sagebridge_operators.lifecycle.file_locks import hold
from sagebridge_operators.lifecycle.outages import TRANSIENT, code_of, is_expired, is_outage
from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import ExecutionRecordsError, RecordsUnreachable

_CONFLICTS = frozenset(
    ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")
)
"""Error codes of PutObject for a failed condition (S3 User Guide, "Conditional writes").

If-Match on a missing object is NoSuchKey; 409 is a conflict with a simultaneous write.
"""

_LONGEST_PART = 200
"""The longest part of a key, in characters; file names have at most 255."""


def key_part(name: str) -> str:
    """A name from a definition as one part of a key: a step may be named ``../../x``.

    A long one is shortened and made unique by a hash.
    """
    text = quote(name, safe="").replace(".", "%2E")
    if len(text) <= _LONGEST_PART:
        return text
    return f"{text[: _LONGEST_PART - 17]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class WriteConflict(Exception):
    """A conditional write failed because another writer was first."""


class StoredObject(NamedTuple):
    """An object and its version, for a conditional write."""

    body: dict[str, Any]
    version: str


class Objects(Protocol):
    """A store of JSON objects, whose keys are paths with slashes."""

    @property
    def location(self) -> str: ...

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        """Writes an object, overwriting any earlier one."""

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        """Writes an object. Raises :class:`WriteConflict` if it exists."""

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        """Writes an object. Raises :class:`WriteConflict` if its version has changed."""

    def read(self, key: str) -> StoredObject | None: ...

    def keys(self, prefix: str) -> Iterator[str]: ...

    def remove(self, key: str) -> None: ...

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        """Marks ``key`` as in progress by this process; yields the lock's descriptor, if any."""

    def attended(self, key: str) -> bool | None:
        """Whether a process has marked ``key``; None if that cannot be known."""

    def beat(self, key: str) -> None:
        """Records that the process that marked ``key`` is alive."""

    def last_beat(self, key: str) -> datetime | None:
        """When ``key`` was last marked or its process alive; None if that cannot be known."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects in a local folder. Each write is atomic."""

    path: Path

    @property
    def location(self) -> str:
        return str(self.path)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        with self._locked(key):
            self._write(key, body)

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        with self._locked(key):
            if (self.path / key).exists():
                raise WriteConflict(key)
            self._write(key, body)

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        with self._locked(key):
            there = self.read(key)
            if there is None or there.version != version:
                raise WriteConflict(key)
            self._write(key, body)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Locks the folder of an execution for one writer at a time."""
        folder = self.path / key.partition("/")[0]
        with ExitStack() as stack:
            try:
                stack.enter_context(hold(folder / ".write.lock", fcntl.LOCK_EX))
            except OSError as error:
                raise self._error(key, error) from error
            yield

    def _write(self, key: str, body: Mapping[str, Any]) -> None:
        target = self.path / key
        try:
            if not target.parent.exists():
                make_private(target.parent)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(body, file, indent=1)
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._error(key, error) from error

    def read(self, key: str) -> StoredObject | None:
        try:
            content = (self.path / key).read_bytes()
            return StoredObject(dict(json.loads(content)), hashlib.sha256(content).hexdigest())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise self._error(key, error) from error

    def keys(self, prefix: str) -> Iterator[str]:
        try:
            os.scandir(self.path).close()  # glob() hides a folder that may not be read
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(prefix, error) from error
        for path in sorted(self.path.glob(f"{prefix}*")):
            files = path.rglob("*") if path.is_dir() else [path]
            # Other suffixes are locks and files that are being written.
            ready = sorted(file for file in files if file.suffix == ".json")
            yield from (str(file.relative_to(self.path)) for file in ready)

    def remove(self, key: str) -> None:
        (self.path / key).unlink(missing_ok=True)

    @contextmanager
    def attend(self, key: str) -> Iterator[int | None]:
        with ExitStack() as stack:
            held = None
            with suppress(OSError):
                held = stack.enter_context(hold(self._lock(key), fcntl.LOCK_SH))
                self.beat(key)
            yield held

    def attended(self, key: str) -> bool | None:
        try:
            with hold(self._lock(key)) as free:
                return free is None
        except OSError:
            return None

    def beat(self, key: str) -> None:
        with suppress(OSError):
            os.utime(self._lock(key))

    def last_beat(self, key: str) -> datetime | None:
        with suppress(OSError):
            return datetime.fromtimestamp(self._lock(key).stat().st_mtime, UTC)
        return None

    def _lock(self, key: str) -> Path:
        return (self.path / key).with_suffix(".lock")

    def _error(self, key: str, error: Exception) -> ExecutionRecordsError:
        damaged = isinstance(error, ValueError | TypeError)
        problem = f"damaged ({error})" if damaged else getattr(error, "strerror", None)
        passing = isinstance(error, OSError) and error.errno in TRANSIENT
        kind = RecordsUnreachable if passing else ExecutionRecordsError
        return kind(key, str(self.path), problem or str(error))


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects below an ``s3://bucket/prefix``.

    ``client`` returns the boto3 client; ``renew`` makes it return one with new credentials.
    Conditional writes use PutObject's If-None-Match and If-Match.
    """

    location: str
    client: Callable[[], Any]
    renew: Callable[[], object] = lambda: None

    def _address(self, key: str) -> dict[str, str]:
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        return {
            "Bucket": bucket,
            "Key": "/".join(part for part in (prefix.strip("/"), key) if part),
        }

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        self._put(key, body)

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        self._put(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        self._put(key, body, IfMatch=version)

    def _put(self, key: str, body: Mapping[str, Any], **condition: str) -> None:
        from botocore.exceptions import ClientError

        content = json.dumps(body, indent=1).encode()
        with self._answering(key):
            try:
                self.client().put_object(**self._address(key), Body=content, **condition)
            except ClientError as error:
                if condition and code_of(error) in _CONFLICTS:
                    raise WriteConflict(key) from None
                raise

    @contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """Raises RecordsUnreachable for an outage, as a folder does."""
        try:
            yield
        except Exception as error:
            if is_expired(error):
                self.renew()
            if is_outage(error):
                raise RecordsUnreachable(key, self.location, str(error)) from error
            raise

    def read(self, key: str) -> StoredObject | None:
        with self._answering(key):
            client = self.client()
            try:
                found = client.get_object(**self._address(key))
                return StoredObject(dict(json.loads(found["Body"].read())), found["ETag"])
            except client.exceptions.NoSuchKey:
                return None

    def keys(self, prefix: str) -> Iterator[str]:
        address = self._address("")
        below = f"{address['Key']}/" if address["Key"] else ""
        with self._answering(prefix):
            pages = self.client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=address["Bucket"], Prefix=f"{below}{prefix}"):
                yield from (item["Key"].removeprefix(below) for item in page.get("Contents", ()))

    def remove(self, key: str) -> None:
        self.client().delete_object(**self._address(key))

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        return nullcontext()

    def attended(self, key: str) -> bool | None:
        return None

    def beat(self, key: str) -> None:
        """Does nothing: a request at each look would cost more than it is worth."""

    def last_beat(self, key: str) -> datetime | None:
        return None


def open_objects(
    location: str, s3: Callable[[], Any], renew: Callable[[], object] = lambda: None
) -> Objects:
    """Opens ``s3://bucket/prefix``, ``file:///path`` or a folder; the callables as in Bucket."""
    if location.startswith("s3://"):
        return Bucket(location, s3, renew)
    return Folder(Path(location.removeprefix("file://")))
