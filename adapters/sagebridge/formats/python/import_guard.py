"""Block the side effects of importing a user's file: network, processes, files.

A hook for Python's audit events (docs.python.org/3/library/audit_events.html) ensures that reading
a pipeline changes nothing. It is not a sandbox against malicious code.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NETWORK = frozenset(
    (
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.sendmsg",
        "socket.sendto",
    )
)
_PROCESSES = frozenset(
    (
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    )
)
_FILES = frozenset(
    (
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "sqlite3.connect",
    )
)


class SideEffectError(PermissionError):
    """A blocked side effect. The string completes "the file ..."."""


def guard_process(scratch: str) -> None:
    """Block the network, new processes and files outside ``scratch``, until this process ends.

    An audit hook cannot be removed (``sys.addaudithook``).
    """
    allowed = os.path.realpath(scratch)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                _check_path(path, allowed)
        elif event in _NETWORK:
            raise SideEffectError("uses the network")
        elif event in _PROCESSES:
            raise SideEffectError("starts or signals a process")
        elif event in _FILES:
            _check_path(arguments[0], allowed)

    sys.addaudithook(hook)


def _check_path(path: object, allowed: str) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return
    name = os.fsdecode(path)
    real = os.path.realpath(name)
    inside = real == allowed or real.startswith(f"{allowed}{os.sep}")
    if not inside and real != os.devnull and name != ":memory:":
        raise SideEffectError(f"writes to {name}")
