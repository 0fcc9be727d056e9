"""Where a command finds its sources and puts its files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sagebridge.errors import SourceError, UsageError
from sagebridge.registry import NoOrchestrator, detect

SUFFIXES = (".json", ".py", ".yaml", ".yml")


def expand(sources: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Sources with each folder replaced by its files of those suffixes, in order of their names.

    A Python file in a folder that imports no orchestrator is some module, no source.
    """
    found: list[str] = []
    for source in sources:
        if not Path(source).is_dir():
            found.append(source)
            continue
        there = sorted(file for file in Path(source).iterdir() if file.suffix in suffixes)
        files = [file for file in there if _is_source(file)]
        if not files:
            wanted = ", ".join(f"*{suffix}" for suffix in suffixes)
            raise SourceError(source, f"the folder has no pipeline file ({wanted})")
        found += map(str, files)
    return found


def _is_source(file: Path) -> bool:
    try:
        detect(file)
    except NoOrchestrator:
        return False
    except SourceError:
        return True
    return True


def safe_stem(name: str) -> str:
    """A name of a pipeline or source as a file name without suffix, which stays in its folder."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".-")[:200] or "pipeline"


def content(path: Path) -> str | None:
    """The text of a file; None where there is none, or no text."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all, its folder made where it is absent.

    Raises :class:`~sagebridge.errors.UsageError`.
    """
    try:
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
    """The mode of the file that is there, else what the umask leaves of a new one."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
