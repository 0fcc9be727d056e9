"""Block the side effects of importing a user's file: network, processes, files.

A hook for Python's audit events (docs.python.org/3/library/audit_events.html) ensures that reading
a pipeline changes nothing. It is not a sandbox against malicious code. Refusals are remembered with
their lines, as the file or a library may catch the exception and continue with another value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from sagebridge.formats.python.user_frames import is_library_import, line_in_file
from sagebridge.model.display import word_set

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NETWORK = word_set(
    "socket.connect socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname "
    "socket.sendmsg socket.sendto"
)
_PROCESSES = word_set(
    "os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.spawn os.system "
    "pty.spawn subprocess.Popen"
)
_FILES = word_set(
    "os.chmod os.chown os.link os.mkdir os.remove os.rename os.rmdir os.symlink "
    "os.truncate os.utime sqlite3.connect"
)


class SideEffectError(PermissionError):
    """A blocked side effect. The string completes "the file ..."; ``line`` is that of the file."""

    def __init__(self, what: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(what)


_guards: list[ImportGuard] = []


@contextmanager
def trial() -> Iterator[None]:
    """Code that is tried: if it raises an exception, its refused side effects are forgotten."""
    before = [(one, dict(one.refused)) for one in _guards]
    try:
        yield
    except BaseException:
        for guard, refused in before:
            guard.refused.clear()
            guard.refused.update(refused)
        raise


@dataclass(slots=True)
class ImportGuard:
    """The hook for one file. ``refused`` has the line of each kind of refused access."""

    file: Path
    scratch: str
    refused: dict[str, int] = field(default_factory=dict)

    def install(self) -> None:
        """Block the network, new processes and files outside ``scratch``, in this process.

        An audit hook cannot be removed (``sys.addaudithook``).
        """
        self.scratch = os.path.realpath(self.scratch)
        _guards.append(self)
        sys.addaudithook(self._check)

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                self._check_path(path)
        elif event in _NETWORK:
            self._refuse("uses the network")
        elif event in _PROCESSES:
            self._refuse("starts or signals a process")
        elif event in _FILES:
            self._check_path(arguments[0])

    def _check_path(self, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        real = os.path.realpath(name)
        inside = real == self.scratch or real.startswith(f"{self.scratch}{os.sep}")
        if inside or real == os.devnull or name == ":memory:":
            return
        what = f"writes to {name}"
        # A library that cannot create its cache when it is imported continues without it.
        if is_library_import(sys._getframe(2)):
            raise SideEffectError(what, line_in_file(sys._getframe(2), self.file))
        self._refuse(what)

    def _refuse(self, what: str) -> NoReturn:
        line = line_in_file(sys._getframe(2), self.file)
        self.refused.setdefault(what, line)
        raise SideEffectError(what, line)
