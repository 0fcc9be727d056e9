"""Messages for what the operating system and SQLite refuse, with the fix."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

OTHER_FOLDER = "set another working folder with --workdir or SAGEBRIDGE_HOME"
FULL = f"the disk is full; free some space, or {OTHER_FOLDER}"
_LITTLE = 1 << 20
"""Bytes; SQLite fails with less free space than its files grow by."""


def describe(error: OSError) -> str:
    """The problem of a file or folder, and the fix."""
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return FULL
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return f"{reason}; make the file and its folder accessible, or {OTHER_FOLDER}"
        case errno.ENAMETOOLONG:
            return "the name is too long; use at most 255 bytes between two '/'"
    return reason


def describe_database(path: Path, error: sqlite3.Error) -> str:
    """The problem of the SQLite database at ``path``, and the fix."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended code
    if code == sqlite3.SQLITE_BUSY:
        return str(error)
    if code == sqlite3.SQLITE_FULL or is_full(path.parent):
        return FULL
    if code == sqlite3.SQLITE_READONLY or not os.access(path.parent, os.W_OK):
        return f"it is read-only; make the file and its folder writable, or {OTHER_FOLDER}"
    return str(error)


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has almost no space, or no more files, left."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    blocks = disk.f_bavail if os.geteuid() else disk.f_bfree  # some are reserved for root
    return blocks * disk.f_frsize < _LITTLE or (disk.f_files > 0 and not disk.f_favail)
