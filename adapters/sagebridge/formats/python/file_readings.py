"""What reading a DAG file and a flow file has in common: places, and files that hold several."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagebridge.errors import SourceError
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline


class PythonFileError(SourceError):
    """A Python file that cannot be read; ``line`` is where, None where it is no one line."""

    def __init__(self, file: str, line: int | None, problem: str, fix: str = "") -> None:
        self.line = line
        super().__init__(file if line is None else f"{file}:{line}", problem, fix)


@dataclass(frozen=True, slots=True)
class FileReading:
    """One DAG or flow of a file: its pipeline, what reading lost, each step's line of the file.

    ``entry`` is what the file calls a flow, and ``arguments`` are what it takes for the parameters
    that the pipeline declares; ``own_tasks`` are the steps that Prefect runs without our help.
    """

    name: str
    pipeline: Pipeline
    losses: tuple[Loss, ...]
    line: int
    lines: Mapping[str, int]
    entry: str = ""
    arguments: tuple[str, ...] = ()
    own_tasks: tuple[str, ...] = ()


def chosen(
    file: str, wanted: str | None, found: Sequence[FileReading], kind: str
) -> Sequence[FileReading]:
    """Those that were asked for: all, or the one of that name; ``kind`` is ``DAG`` or ``flow``."""
    if wanted is None:
        return found
    one = [reading for reading in found if reading.name == wanted]
    if not one:
        names = ", ".join(reading.name for reading in found)
        raise PythonFileError(file, None, f"holds no {kind} {wanted!r}", f"there are {names}")
    return one


def only(file: str, found: Sequence[FileReading], kind: str) -> FileReading:
    """The one reading of a file, else an error that names those there are."""
    if len(found) > 1:
        names = ", ".join(f"{file}#{reading.name}" for reading in found)
        problem = f"holds {len(found)} {kind}s"
        raise PythonFileError(file, None, problem, f"name one of them: {names}")
    return found[0]


def missing(file: str) -> PythonFileError | None:
    """Why there is no such file of Python; None where there is."""
    path = Path(file)
    if path.is_dir():
        return PythonFileError(file, None, "a folder, not a file")
    if not path.is_file():
        return PythonFileError(file, None, f"no such file (looked in {Path.cwd()})")
    if path.suffix != ".py":
        problem = f"is no Python file{_looks(path)}"
        return PythonFileError(file, None, problem, "leave --from out, or name another format")
    return None


def _looks(path: Path) -> str:
    if path.suffix in (".yaml", ".yml"):
        return ": it looks like YAML"
    with suppress(OSError), path.open("rb") as text:
        if text.read(1000).removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"["):
            return ": it looks like JSON"
    return ", as its name does not end in .py"
