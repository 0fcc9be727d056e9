"""Locks on files, which the kernel lets go when who holds them dies, however that was.

Unlike a process id, a lock also tells in another container that shares the folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> Iterator[int | None]:
    """Holds the lock of a file, which comes into being; None where somebody else does.

    What it gives is the descriptor: a process that inherits it holds the lock too. Raises OSError
    where the folder knows no locks or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()
