"""The object store of the local backend: ``s3://`` objects as files in a folder.

``s3://bucket/a/b`` is the file ``<root>/bucket/a/b``. Keys may contain empty names (``a//b``,
``a/``), paths may not. An empty name therefore becomes ``%``, ``%`` becomes ``%%`` and so on, so
that no two keys share a file. ``file://`` URIs and paths are used unchanged.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

from sagebridge_operators.backends.local.os_errors import describe
from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import BadUri, ObjectNotFound, StoreError

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_URL = re.compile(
    r"https://(?P<bucket>[a-z0-9.-]+)\.s3([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?/(?P<key>.+)"
)
PARTIAL = ".sagebridge-partial-"


Check = Callable[[], object]
"""Called before each read of a file; an exception ends the copy."""


def _nothing() -> None:
    pass


class _CheckedFile(io.FileIO):
    def __init__(self, descriptor: int, check: Check) -> None:
        super().__init__(descriptor, "rb")
        self._check = check

    def readinto(self, buffer: Any) -> int:
        self._check()
        return super().readinto(buffer) or 0


def open_regular(path: Path, check: Check = _nothing) -> IO[bytes]:
    """Open a regular file for reading. Never waits, as opening a FIFO or reading a device would.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return io.BufferedReader(_CheckedFile(descriptor, check))


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a listing: size in bytes, last modification in epoch seconds."""

    uri: str
    path: Path
    size: int
    modified: float


class FolderStore:
    """Objects in the folder ``root``; relative paths are relative to ``base``.

    Writes are atomic, for other processes too. Every method raises StoreError (or its subclasses
    BadUri and ObjectNotFound), which names the URI and the file.
    """

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root.resolve()
        self.base = base.resolve()

    def path_of(self, uri: str) -> Path:
        """The file of an object, or the folder of a bucket.

        Raises:
            BadUri: an unknown scheme, no bucket, or a key that points outside its bucket.
        """
        uri = s3_uri(uri)
        if not uri.startswith("s3://"):
            return Path(self._plain(uri))
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self._inside(uri, bucket, key.split("/") if key else [])

    def exists(self, uri: str) -> bool:
        """Whether an object has exactly this URI."""
        path = self.path_of(uri)
        try:
            return path.is_file()
        except OSError as error:
            raise _store_error(uri, path, error) from error

    def open(self, uri: str, check: Check = _nothing) -> IO[bytes]:
        """An object, opened for reading; see :func:`open_regular`."""
        path = self.path_of(uri)
        try:
            return open_regular(path, check)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ObjectNotFound(uri, str(path), "no such object") from None
        except OSError as error:
            raise _store_error(uri, path, error) from error

    def read(self, uri: str) -> bytes:
        """The content of an object."""
        with self.open(uri) as content:
            return content.read()

    def fetch(self, uri: str, target: Path, check: Check = _nothing) -> None:
        """Copy an object to a file, creating its folder."""
        with self.open(uri, check) as content:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
            except OSError as error:
                raise _store_error(uri, target, error) from error

    def write(self, uri: str, content: bytes) -> None:
        """Create or replace an object."""
        self.write_from(uri, lambda file: file.write(content))

    def put(self, source: Path, uri: str, check: Check = _nothing) -> None:
        """Create or replace an object with the content of a file."""
        try:
            content = open_regular(source, check)
        except OSError as error:
            raise _store_error(uri, source, error) from error
        with content:
            self.write_from(uri, lambda file: shutil.copyfileobj(content, file))

    def write_from(self, uri: str, produce: Callable[[IO[bytes]], object]) -> None:
        """Create or replace an object; ``produce`` writes its content to a file."""
        path = self.path_of(uri)
        try:
            if path.is_relative_to(self.root):
                make_private(self.root)
            partial, file = _partial(path.parent)
            try:
                with file:
                    produce(file)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _store_error(uri, path, error) from error

    def delete(self, uri: str) -> None:
        """Remove an object, if it exists, and the folders that become empty."""
        path = self.path_of(uri)
        try:
            path.unlink()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return
        except OSError as error:
            raise _store_error(uri, path, error) from error
        if path.is_relative_to(self.root):
            with suppress(OSError):
                for depth in range(len(path.relative_to(self.root).parts) - 2):
                    path.parents[depth].rmdir()

    def list(
        self, prefix: str, skipped: builtins.list[Path] | None = None
    ) -> builtins.list[StoredObject]:
        """The objects whose URIs start with the string ``prefix``, sorted by URI.

        Linked folders and files that are not regular are left out, and added to ``skipped``.
        """
        prefix, skipped = s3_uri(prefix), [] if skipped is None else skipped
        if prefix.startswith("s3://"):
            found = self._list_bucket(prefix, skipped)
        else:
            found = self._list_plain(prefix, skipped)
        return sorted(found, key=lambda stored: stored.uri.encode(errors="surrogateescape"))

    def _list_bucket(self, prefix: str, skipped: builtins.list[Path]) -> Iterator[StoredObject]:
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        *folders, start = key.split("/")
        top = self._inside(prefix, bucket, [])
        for path, status in _files(self._inside(prefix, bucket, folders), start, skipped):
            uri = f"s3://{bucket}/{_key(path.relative_to(top))}"
            if uri.startswith(prefix) and self._is_inside(path):
                yield StoredObject(uri, path, status.st_size, status.st_mtime)

    def _list_plain(self, prefix: str, skipped: builtins.list[Path]) -> Iterator[StoredObject]:
        folder, start = os.path.split(self._plain(prefix))
        for path, status in _files(Path(folder), start, skipped):
            rest = str(path.relative_to(folder))[len(start) :]
            uri = prefix + (quote(rest) if prefix.startswith("file://") else rest)
            yield StoredObject(uri, path, status.st_size, status.st_mtime)

    def _inside(self, uri: str, bucket: str, names: builtins.list[str]) -> Path:
        if not BUCKET.fullmatch(bucket):
            raise BadUri(uri, str(self.root), f"{bucket!r} is not a bucket name")
        path = self.root.joinpath(bucket, *map(_file_name, names))
        if {".", ".."} & set(names) or "\0" in uri:
            raise BadUri(uri, str(path), "a key must not contain the names '.' and '..', or NUL")
        if not self._is_inside(path):
            raise BadUri(uri, str(path), "a symbolic link points outside the store")
        return path

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # circular links: RuntimeError before Python 3.13
            return False

    def _plain(self, uri: str) -> str:
        path = uri
        if uri.startswith("file://"):
            host, slash, rest = uri.removeprefix("file://").partition("/")
            path = slash + unquote(rest) if host in ("", "localhost") else ""
        if not path or "\0" in path or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
            problem = "unsupported URI (expected s3://bucket/key, file:///path or a path)"
            raise BadUri(uri, str(self.base), problem)
        return path if path.startswith("/") else f"{self.base}/{path}"


def s3_uri(uri: str) -> str:
    """The S3 URI of an object's HTTPS URL, which AWS accepts for model data; otherwise ``uri``."""
    found = _URL.fullmatch(uri)
    return uri if found is None else f"s3://{found['bucket']}/{unquote(found['key'])}"


def _file_name(name: str) -> str:
    return name if name.strip("%") else name + "%"


def _key(path: Path) -> str:
    return "/".join(part if part.strip("%") else part[:-1] for part in path.parts)


def _files(folder: Path, start: str, skipped: list[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """All files in a folder whose relative path starts with ``start``, without linked folders."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(start)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _store_error(str(folder), folder, error) from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), "", skipped)
        elif not entry.name.startswith(PARTIAL):
            with suppress(OSError):
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    yield Path(entry.path), status
                else:
                    skipped.append(Path(entry.path))


def _partial(folder: Path) -> tuple[Path, IO[bytes]]:
    """Create a file and its folder, even while other processes remove the empty folder."""
    path = folder / (PARTIAL + uuid.uuid4().hex)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return path, path.open("xb")
        except FileNotFoundError:
            continue
        except FileExistsError:
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise


def _store_error(uri: str, path: Path, error: OSError) -> StoreError:
    problem = describe(error)
    if isinstance(error, IsADirectoryError):
        problem = "the keys of other objects start with this key and '/', so it is a folder"
    elif isinstance(error, NotADirectoryError | FileExistsError):
        problem = "the key of another object is a parent folder of this key"
    return StoreError(uri, str(path), problem)
