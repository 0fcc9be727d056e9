"""File locks, which the kernel releases when the process that holds them dies.

Unlike a process id, a lock also works between containers that share the folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sagebridge_operators.lifecycle.private_folders import make_private


@contextmanager
def hold(path: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> Iterator[int | None]:
    """Creates and locks a file; yields its descriptor, or None if another process holds the lock.

    A process that inherits the descriptor holds the lock too. Raises OSError if the file system has
    no locks or the folder cannot be written.
    """
    try:
        file = path.open("a")
    except FileNotFoundError:
        make_private(path.parent)
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()
