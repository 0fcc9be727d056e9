"""Readers of Python files, which may contain several DAGs or flows."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagebridge.authoring.json_document import MAX_CONDITIONS, check_size
from sagebridge.authoring.python_files import split_source
from sagebridge.errors import PythonFileError, SourceError
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step

NO_DAG = "has no DAG"
"""The problem of a DAG file without a DAG that Airflow would find."""


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """A task of a file: its name, the name of its step if the task keeps it, and its line."""

    name: str
    label: str
    line: int


@dataclass(frozen=True, slots=True)
class FileReading:
    """One DAG or flow of a file.

    Attributes:
        lines: the line of each step in the file.
        entry: the name of a flow function in its module.
        arguments: the arguments of a flow function that are pipeline parameters.
        own_tasks: the steps that are tasks of the flow, which Prefect runs without sagebridge.
        tasks: the tasks of a live DAG, whatever the reader made of them.
    """

    name: str
    pipeline: Pipeline
    losses: tuple[Loss, ...]
    line: int
    lines: Mapping[str, int]
    entry: str = ""
    arguments: tuple[str, ...] = ()
    own_tasks: tuple[str, ...] = ()
    tasks: tuple[TaskPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class FileReader:
    """The read functions of a format; ``kind`` is ``DAG`` or ``flow``.

    A source is a file, or ``file.py#name`` for one of its pipelines. ``readings`` returns those of
    a file in order. It raises :class:`SourceError`, or :class:`MissingExtra` if the file has to be
    imported and the engine is not installed.
    """

    kind: str
    readings: Callable[[str], Sequence[FileReading]]

    def read(self, source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
        """The only pipeline of a file, or the named one; the error lists all if it has several."""
        found = self.read_one(source)
        return found.pipeline, found.losses

    def read_all(self, source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
        """All pipelines of a file, in order."""
        _, found = self._choose(source)
        return [(one.pipeline, one.losses) for one in found]

    def read_one(self, source: Any) -> FileReading:
        """Like :meth:`read`, with the lines of the pipeline and its steps."""
        file, found = self._choose(source)
        if len(found) > 1:
            names = ", ".join(f"{file}#{reading.name}" for reading in found)
            problem = f"has {len(found)} {self.kind}s"
            raise PythonFileError(file, None, problem, f"choose one: {names}")
        return found[0]

    def _choose(self, source: Any) -> tuple[str, Sequence[FileReading]]:
        """The file, and all its readings or the named one."""
        file, wanted = split_source(source)
        found = self.readings(file)
        if wanted is None:
            return file, found
        one = [reading for reading in found if reading.name == wanted]
        if not one:
            names = ", ".join(reading.name for reading in found)
            problem = f"has no {self.kind} {wanted!r}"
            raise PythonFileError(file, None, problem, f"it has {names}")
        return file, one


def check_nesting(file: str, line: int, steps: Sequence[Step]) -> None:
    """Raise :class:`PythonFileError` if conditions are nested deeper than is read."""
    depth, level = -1, list(steps)
    while level:
        depth += 1
        conditions = (one for one in level if isinstance(one, ConditionStep))
        level = [inner for one in conditions for inner in one.branches]
    if depth > MAX_CONDITIONS:
        raise too_deep(file, line)


def too_deep(file: str, line: int) -> PythonFileError:
    problem = f"conditions are nested more than {MAX_CONDITIONS} deep"
    return PythonFileError(file, line, problem, "move branches into a separate pipeline")


def missing(file: str) -> PythonFileError | None:
    """The error if there is no such Python file, otherwise None."""
    path = Path(file)
    if path.is_dir():
        return PythonFileError(file, None, "is a folder, not a file")
    if not path.is_file():
        return PythonFileError(file, None, f"no such file (looked in {Path.cwd()})")
    try:
        check_size(path.stat().st_size, file)
    except SourceError as error:
        return PythonFileError(file, None, error.problem, error.fix)
    if path.suffix != ".py":
        problem = f"is not a Python file{_content(path)}"
        return PythonFileError(file, None, problem, "omit --from, or use another format")
    return None


def _content(path: Path) -> str:
    if path.suffix in (".yaml", ".yml"):
        return ": it looks like YAML"
    with suppress(OSError), path.open("rb") as text:
        if text.read(1000).removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"["):
            return ": it looks like JSON"
    return ", as its name does not end in .py"
