"""Readable streams over another stream: a part of it, its chunks, its content with a checksum."""

from __future__ import annotations

import hashlib
import hmac
import io
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

from sagebridge_operators.backends.local.api import ApiError

_LINE = 8192


class _Input(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source: Any = source

    def readable(self) -> bool:
        return True


class _Part(_Input):
    def __init__(self, source: IO[bytes], size: int) -> None:
        super().__init__(source)
        self._left = size

    def readinto(self, buffer: Any) -> int:
        count: int = self._source.readinto(memoryview(buffer)[: self._left])
        if self._left and not count:
            raise _incomplete(f"{self._left} bytes are missing")
        self._left -= count
        return count


class _FilePart(_Part):
    def close(self) -> None:
        self._source.close()
        super().close()


def part(source: IO[bytes], size: int) -> IO[bytes]:
    """The next ``size`` bytes of a stream. Reading fails if there are fewer."""
    return io.BufferedReader(_Part(source, size))


def file_part(file: IO[bytes], size: int) -> IO[bytes]:
    """As :func:`part`; closing it closes the file."""
    return io.BufferedReader(_FilePart(file, size))


class ChunkCheck(Protocol):
    """Checks the signatures of chunks. Its methods raise ApiError."""

    def begin(self, extension: str) -> None:
        """A chunk begins, with the extension after its size."""

    def update(self, content: memoryview) -> None:
        """More content of the chunk."""

    def end(self) -> None:
        """The chunk is complete."""

    def end_of_trailers(self, trailers: Mapping[str, str]) -> None:
        """The body is complete."""


class _Chunks(_Input):
    def __init__(
        self, source: IO[bytes], trailers: dict[str, str], check: ChunkCheck | None
    ) -> None:
        super().__init__(source)
        self._check, self._trailers = check, trailers
        self._left, self._is_first, self._is_complete = 0, True, False

    def readinto(self, buffer: Any) -> int:
        if not self._left and not self._begin():
            return 0
        view = memoryview(buffer)[: self._left]
        count: int = self._source.readinto(view)
        if not count:
            raise _incomplete("a chunk ends early")
        self._left -= count
        if self._check:
            self._check.update(view[:count])
            if not self._left:
                self._check.end()
        return count

    def _begin(self) -> bool:
        """Read the head of the next chunk, or the trailers. Returns whether there is a chunk."""
        if self._is_complete:
            return False
        if not self._is_first and self._line():
            raise _incomplete("a chunk is longer than its size")
        self._is_first = False
        size, _, extension = self._line().partition(";")
        try:
            self._left = int(size, 16)
        except ValueError:
            raise _incomplete("a chunk has no size") from None
        if self._check:
            self._check.begin(extension)
        if self._left:
            return True
        while line := self._line():
            name, _, value = line.partition(":")
            self._trailers[name.strip().lower()] = value.strip()
        if self._check:
            self._check.end()
            self._check.end_of_trailers(self._trailers)
        self._is_complete = True
        return False

    def _line(self) -> str:
        line: bytes = self._source.readline(_LINE)
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")


def chunks(
    source: IO[bytes], trailers: dict[str, str] | None = None, check: ChunkCheck | None = None
) -> IO[bytes]:
    """The content of a stream of chunks, as in HTTP/1.1 (RFC 9112, 7.1) and S3's ``aws-chunked``.

    The fields after the last chunk are added to ``trailers``, with lower-case names.
    """
    return io.BufferedReader(_Chunks(source, {} if trailers is None else trailers, check))


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, content: Any) -> None:
        self._value = zlib.crc32(content, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


CHECKSUMS: Mapping[str, Callable[[], Any]] = {
    "crc32": _Crc32,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


class _Checked(_Input):
    def __init__(self, source: IO[bytes], digest: Any, expected: Any, error: ApiError) -> None:
        super().__init__(source)
        self._digest, self._expected, self._error = digest, expected, error

    def readinto(self, buffer: Any) -> int:
        count: int = self._source.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        if not count and not hmac.compare_digest(self._digest.digest(), self._expected()):
            raise self._error
        return count


def checked(
    source: IO[bytes], checksum: str, expected: Callable[[], bytes], error: ApiError
) -> IO[bytes]:
    """The same content; instead of its end comes an error if the checksum is not as expected.

    ``checksum`` is a name in ``CHECKSUMS``; ``expected`` is called after all content was read.
    """
    return io.BufferedReader(_Checked(source, CHECKSUMS[checksum](), expected, error))


def _incomplete(problem: str) -> ApiError:
    return ApiError("IncompleteBody", f"the body is incomplete: {problem}")
