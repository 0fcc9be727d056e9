"""Keeps a user's Python file from doing anything but being imported.

This is no sandbox: the file is the user's own code. It is the promise that reading a pipeline
starts, calls, sends and changes nothing, kept by a hook for Python's audit events in the process
that imports the file.
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
    """A side effect that importing a file was about to have."""


def guard_process(scratch: str) -> None:
    """From now on this process reaches no network, starts nothing, writes only below ``scratch``.

    It lasts as long as the process: an audit hook cannot be taken away.
    """
    allowed = os.path.realpath(scratch)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                _check_path(path, allowed)
        elif event in _NETWORK:
            raise SideEffectError("reaches for the network")
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
