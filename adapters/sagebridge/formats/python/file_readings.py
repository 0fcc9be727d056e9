"""The verbs and readings that DAG files and flow files share: a file may hold several pipelines."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagebridge.errors import PythonFileError, SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.validator import unreadable, validate
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.code_steps import only_code
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline


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


@dataclass(frozen=True, slots=True)
class FileReader:
    """The verbs of a format whose files hold pipelines; ``kind`` is ``DAG`` or ``flow``.

    A source is a file, or ``file.py#name`` for one of its pipelines. ``readings`` returns those of
    a file in its order; it raises :class:`SourceError`, or :class:`MissingExtra` if the file has
    to be imported and the engine is not installed.
    """

    kind: str
    readings: Callable[[str], Sequence[FileReading]]

    def read(self, source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
        """The one pipeline of a file, or the named one; an error lists several."""
        found = self.read_one(source)
        return found.pipeline, found.losses

    def read_all(self, source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
        """All pipelines of a file, in its order."""
        _, found = self._chosen(source)
        return [(one.pipeline, one.losses) for one in found]

    def validate(self, source: Any) -> tuple[Finding, ...]:
        """The findings of the pipeline that a file makes, at the lines of the file."""
        try:
            found = self.read_one(source)
        except SourceError as error:
            return (unreadable(error),)
        return tuple(findings(found))

    def read_one(self, source: Any) -> FileReading:
        """As :meth:`read`, with the lines of the pipeline and its steps."""
        file, found = self._chosen(source)
        if len(found) > 1:
            names = ", ".join(f"{file}#{reading.name}" for reading in found)
            problem = f"holds {len(found)} {self.kind}s"
            raise PythonFileError(file, None, problem, f"name one of them: {names}")
        return found[0]

    def _chosen(self, source: Any) -> tuple[str, Sequence[FileReading]]:
        """The file, and all its readings or the one of the wanted name."""
        file, wanted = split(source)
        found = self.readings(file)
        if wanted is None:
            return file, found
        one = [reading for reading in found if reading.name == wanted]
        if not one:
            names = ", ".join(reading.name for reading in found)
            problem = f"holds no {self.kind} {wanted!r}"
            raise PythonFileError(file, None, problem, f"there are {names}")
        return file, one


def split(source: Any) -> tuple[str, str | None]:
    """``file.py#name`` to its parts; a file whose own name has ``#`` is found first.

    Raises SourceError for a text of several lines, which names no file.
    """
    text = str(source)
    if "\n" in text:
        raise SourceError("<text>", "is no file", "write Python source to a file first")
    if Path(text).exists() or "#" not in text:
        return text, None
    file, _, wanted = text.rpartition("#")
    return file, wanted


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


def findings(reading: FileReading) -> Iterator[Finding]:
    """What validation says of the pipeline, at the lines of the file.

    Where nothing of the file is a step, what reading it lost says why.
    """
    text, _ = write(reading.pipeline)
    steps = json.loads(text).get("Steps", [])
    for one in validate(text):
        if one.code == "no-steps" and only_code(reading.pipeline):
            continue
        yield replace(one, line=_line(one.pointer, steps, reading))
        if one.code == "no-steps":
            yield from (_told(loss, reading) for loss in reading.losses)


def _told(loss: Loss, reading: FileReading) -> Finding:
    line = loss.place.rpartition(":")[2]
    message = f"{loss.what}; {loss.advice}" if loss.advice else loss.what
    return Finding(
        loss.code, "warning", "", int(line) if line.isdecimal() else reading.line, message
    )


def _line(pointer: str, steps: list[Any], reading: FileReading) -> int:
    """The line of the innermost step that a pointer into the definition goes through."""
    line = reading.line
    node: Any = {"Steps": steps}
    for token in pointer.split("/")[1:]:
        try:
            node = node[int(token)] if isinstance(node, list) else node[token]
        except (LookupError, ValueError):
            break
        if isinstance(node, dict) and isinstance(node.get("Name"), str):
            line = reading.lines.get(node["Name"], line)
    return line
