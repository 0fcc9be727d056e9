"""A place for small JSON objects: a folder of this machine, or S3. Writes may be conditional."""

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

from sagebridge_operators.lifecycle.file_locks import hold
from sagebridge_operators.lifecycle.outages import TRANSIENT, code_of, is_outage
from sagebridge_operators.run_errors import ExecutionRecordsError, RecordsUnreachable

_CONFLICTS = frozenset(
    ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")
)
"""If-Match on an object that is not there is NoSuchKey."""


class Conflict(Exception):
    """A conditional write that another writer came before."""


class Stored(NamedTuple):
    """An object and its version, for a write that must not overwrite another one."""

    body: dict[str, Any]
    version: str


class Objects(Protocol):
    """Objects are keyed by slashed names."""

    @property
    def location(self) -> str: ...

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        """Writes an object, whatever was there."""

    def create(self, key: str, body: Mapping[str, Any]) -> None:
        """Writes an object that must not be there yet. Raises :class:`Conflict`."""

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        """Writes an object that must still have that version. Raises :class:`Conflict`."""

    def read(self, key: str) -> Stored | None: ...

    def keys(self, prefix: str) -> Iterator[str]: ...

    def remove(self, key: str) -> None: ...

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        """Marks ``key`` as in progress by this process; yields the lock's descriptor, if any."""

    def attended(self, key: str) -> bool | None:
        """Whether a process has marked ``key``; None where that cannot be known."""

    def beat(self, key: str) -> None:
        """Notes that the process that has marked ``key`` is alive now."""

    def last_beat(self, key: str) -> datetime | None:
        """When ``key`` was last marked or noted; None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects in a folder of this machine, written whole or not at all."""

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
                raise Conflict(key)
            self._write(key, body)

    def replace(self, key: str, body: Mapping[str, Any], version: str) -> None:
        with self._locked(key):
            there = self.read(key)
            if there is None or there.version != version:
                raise Conflict(key)
            self._write(key, body)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """One writer at a time in the folder of an execution."""
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
            target.parent.mkdir(parents=True, exist_ok=True)
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

    def read(self, key: str) -> Stored | None:
        try:
            content = (self.path / key).read_bytes()
            return Stored(dict(json.loads(content)), hashlib.sha256(content).hexdigest())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise self._error(key, error) from error

    def keys(self, prefix: str) -> Iterator[str]:
        try:
            os.scandir(self.path).close()  # a glob finds nothing in what may not be read
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(prefix, error) from error
        for path in sorted(self.path.glob(f"{prefix}*")):
            files = path.rglob("*") if path.is_dir() else [path]
            # What is being written has a name of its own.
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
    """Objects below an ``s3://bucket/prefix``, through a boto3 client that is made when used.

    Conditional writes are PutObject's If-None-Match and If-Match.
    """

    location: str
    client: Callable[[], Any]

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
                    raise Conflict(key) from None
                raise

    @contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """Raises RecordsUnreachable for an error that is no answer, as a folder's are."""
        try:
            yield
        except Exception as error:
            if is_outage(error):
                raise RecordsUnreachable(key, self.location, str(error)) from error
            raise

    def read(self, key: str) -> Stored | None:
        with self._answering(key):
            client = self.client()
            try:
                found = client.get_object(**self._address(key))
                return Stored(dict(json.loads(found["Body"].read())), found["ETag"])
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
        del key
        return nullcontext()

    def attended(self, key: str) -> bool | None:
        del key
        return None

    def beat(self, key: str) -> None:
        """Nothing: a request at each look would cost more than it tells."""

    def last_beat(self, key: str) -> datetime | None:
        del key
        return None


def open_objects(location: str, s3: Callable[[], Any]) -> Objects:
    """``s3://bucket/prefix``, ``file://`` or a folder."""
    if location.startswith("s3://"):
        return Bucket(location, s3)
    return Folder(Path(location.removeprefix("file://")))
