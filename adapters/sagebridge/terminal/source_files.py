"""Source files of a command, and the files that it writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from sagebridge.errors import SourceError, UsageError
from sagebridge.model.display import printable
from sagebridge.registry import NoOrchestrator, SdkFile, detect, skip_reason

SUFFIXES = (".json", ".py", ".yaml", ".yml")


def expand(sources: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Sources with each folder replaced by its files with these suffixes, sorted by name.

    Files in a folder that are not pipelines are skipped, with a line on standard error; Python
    files that import no orchestrator and no SDK without one. Raises SourceError for a folder
    without sources.
    """
    found: list[str] = []
    for source in sources:
        if not _is_folder(source):
            found.append(source)
            continue
        there = sorted(file for file in Path(source).iterdir() if file.suffix in suffixes)
        files = [file for file in there if _is_source(file)]
        if not files:
            wanted = ", ".join(f"*{suffix}" for suffix in suffixes)
            raise SourceError(source, f"no pipeline files in this folder ({wanted})")
        found += map(str, files)
    return found


def _is_folder(source: str) -> bool:
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):  # a JSON string is too long for a file name
        return False


def _is_source(file: Path) -> bool:
    reason = ""
    try:
        detect(file)
        reason = skip_reason(file)
    except SdkFile as error:
        reason = f"{error.problem}; {error.fix}"
    except NoOrchestrator:
        return False
    except SourceError:
        return True
    if reason:
        click.echo(printable(f"{file}: skipped: {reason}"), err=True)
    return not reason


def content(path: Path) -> str | None:
    """The text of a file; None if it is missing or not UTF-8."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def write_file(path: Path, text: str) -> None:
    """Write a file atomically; create its folder if missing.

    A pipe or device such as /dev/null is written to, and not replaced. Raises
    :class:`~sagebridge.errors.UsageError`.
    """
    try:
        if path.is_char_device() or path.is_fifo():
            path.write_bytes(text.encode())
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
            Path(name).chmod(_mode(path))
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def _mode(path: Path) -> int:
    """The mode of the existing file; for a new file, 0666 minus the umask."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    # os has no call that only reads the umask.
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
