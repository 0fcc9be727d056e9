"""Run code as another user of this machine. Needs root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OTHER_UID = 65534
"""A user without rights that every Linux system has."""
OTHER_USER = pwd.getpwuid(OTHER_UID).pw_name
IS_ROOT = os.geteuid() == 0


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that every user can enter and list, unlike pytest's temporary folders."""
    folder = Path(tempfile.mkdtemp(prefix="sagebridge-shared-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def as_other_user(call: Callable[[], Any]) -> Any:
    """Return the result of a call, which must be JSON, in a process of another user.

    The process is forked, since the other user may not be able to start this interpreter.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.write(writing, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        text = result.read()
    os.waitpid(child, 0)
    assert text, "the call failed"
    return json.loads(text)


def readable_files(folder: Path) -> list[str]:
    """The files below a folder that this process can read."""
    return sorted(
        str(Path(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
        if os.access(Path(parent, name), os.R_OK)
    )
