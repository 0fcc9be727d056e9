"""Folders that no other user of this machine can enter: records and jobs may contain secrets."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from sagebridge_operators.run_errors import WorkdirUnusable

_OTHERS = 0o077
_OTHERS_WRITE = 0o022


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700. Keep existing folders as they are."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def restrict(folder: Path) -> None:
    """Take away the permissions of group and others, if the folder exists.

    Everything below the folder is then out of their reach, whatever its own mode. The checked
    folder is the changed one, even if another user replaces it by a link in between.

    Raises WorkdirUnusable if the folder, a link to it or an entry that others could create in it
    belongs to another user, or if the file system ignores permissions.
    """
    try:
        _check_owner(folder, folder, os.lstat(folder))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = os.fstat(descriptor)
            _check_owner(folder, folder, found)
            if not found.st_mode & _OTHERS:
                return
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
            if os.fstat(descriptor).st_mode & _OTHERS:
                raise _unusable(folder, folder, "its file system cannot restrict it to you")
            if found.st_mode & _OTHERS_WRITE:
                try:
                    _check_entries(folder, descriptor)
                except WorkdirUnusable:
                    # Otherwise the next call would accept the folder.
                    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
                    raise
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise _unusable(folder, folder, "not a folder") from None
    except OSError as error:
        raise _unusable(folder, folder, error.strerror or str(error)) from error


def _check_owner(folder: Path, path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        kind = "the link" if stat.S_ISLNK(found.st_mode) else "it"
        raise _unusable(
            folder, path, f"{kind} belongs to {_user(found.st_uid)}, not to {_user(os.geteuid())}"
        )


def _check_entries(folder: Path, descriptor: int) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            _check_owner(folder, folder / entry.name, entry.stat(follow_symlinks=False))


def _unusable(folder: Path, path: Path, problem: str) -> WorkdirUnusable:
    return WorkdirUnusable(str(folder), str(path), problem)


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:  # usual in containers
        return f"uid {uid}"
