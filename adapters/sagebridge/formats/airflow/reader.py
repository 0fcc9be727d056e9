"""Airflow DAG files to the model: the file is imported in a subprocess, its live DAGs are read.

Reading a file executes its code, as Airflow's own parsing does, in an Airflow that is private and
empty, and that neither reaches the network nor writes (:mod:`sagebridge.formats.airflow.guard`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagebridge.errors import MissingExtra, SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.document import parse
from sagebridge.formats.sagemaker.reader import read_definition
from sagebridge.formats.sagemaker.validator import unreadable
from sagebridge.formats.sagemaker.validator import validate as validate_definition
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

LIMIT = 60.0
"""Seconds that one file may take to import."""


@dataclass(frozen=True, slots=True)
class DagReading:
    """One DAG of a file: its pipeline, what reading lost, and each step's line of the file."""

    dag_id: str
    pipeline: Pipeline
    losses: tuple[Loss, ...]
    line: int
    lines: Mapping[str, int]


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of the one DAG of a file, or of the one that ``file.py#dag_id`` names.

    Raises :class:`SourceError` that names the DAGs where there are several, or says why the file
    cannot be read; :class:`MissingExtra` where Airflow is not installed.
    """
    found = _read_one(source)
    return found.pipeline, found.losses


def read_all(source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipelines of all DAGs of a file, in the order in which they are made."""
    file, wanted = _split(source)
    (outcome,) = read_files([file])
    return [(dag.pipeline, dag.losses) for dag in _chosen(file, wanted, _raised(outcome))]


def read_each(
    files: Sequence[str],
) -> list[list[tuple[Pipeline, tuple[Loss, ...]]] | SourceError]:
    """As :func:`read_all`, of many files in one subprocess; an error stands for its file."""
    return [
        outcome
        if isinstance(outcome, SourceError)
        else [(dag.pipeline, dag.losses) for dag in outcome]
        for outcome in read_files(files)
    ]


def read_files(
    files: Sequence[str | Path], limit: float = LIMIT
) -> list[list[DagReading] | SourceError]:
    """The DAGs of each file, or why it cannot be read; one subprocess reads them all."""
    names = [str(file) for file in files]
    missing = [_missing(name) for name in names]
    asked = [name for name, error in zip(names, missing, strict=True) if error is None]
    answers = _load(asked, limit) if asked else iter(())
    return [
        error if error is not None else _outcome(name, next(answers))
        for name, error in zip(names, missing, strict=True)
    ]


def validate(source: Any) -> tuple[Finding, ...]:
    """The findings of the pipeline that a file makes, at the lines of its DAG and steps."""
    try:
        found = _read_one(source)
    except SourceError as error:
        return (unreadable(error),)
    text, _ = write(found.pipeline)
    findings = validate_definition(text)
    steps = json.loads(text).get("Steps", [])
    return tuple(replace(one, line=_line(one.pointer, steps, found)) for one in findings)


class DagFileError(SourceError):
    """A DAG file that cannot be read; ``line`` is where, None where it is no one line."""

    def __init__(self, file: str, line: int | None, problem: str, fix: str = "") -> None:
        self.line = line
        super().__init__(file if line is None else f"{file}:{line}", problem, fix)


def _read_one(source: Any) -> DagReading:
    file, wanted = _split(source)
    (outcome,) = read_files([file])
    found = _chosen(file, wanted, _raised(outcome))
    if len(found) > 1:
        names = ", ".join(f"{file}#{dag.dag_id}" for dag in found)
        raise DagFileError(file, None, f"holds {len(found)} DAGs", f"name one of them: {names}")
    return found[0]


def _split(source: Any) -> tuple[str, str | None]:
    """``file.py#dag_id`` to its parts; a file whose own name has ``#`` is found first."""
    text = str(source)
    if Path(text).exists() or "#" not in text:
        return text, None
    file, _, wanted = text.rpartition("#")
    return file, wanted


def _chosen(file: str, wanted: str | None, dags: list[DagReading]) -> list[DagReading]:
    if wanted is None:
        return dags
    found = [dag for dag in dags if dag.dag_id == wanted]
    if not found:
        names = ", ".join(dag.dag_id for dag in dags)
        raise DagFileError(file, None, f"holds no DAG {wanted!r}", f"there are {names}")
    return found


def _raised(outcome: list[DagReading] | SourceError) -> list[DagReading]:
    if isinstance(outcome, SourceError):
        raise outcome
    return outcome


def _missing(file: str) -> SourceError | None:
    path = Path(file)
    if path.is_dir():
        return DagFileError(file, None, "a folder, not a file")
    if not path.is_file():
        return DagFileError(file, None, f"no such file (looked in {Path.cwd()})")
    return None


def _load(files: list[str], limit: float) -> Iterator[dict[str, Any]]:
    """The loader's answers for files, in their order."""
    asked = {"files": [str(Path(file).resolve()) for file in files], "limit": limit}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sagebridge.formats.airflow.load"],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if "missing" in answer:
            raise MissingExtra(
                f"reading an Airflow file (no module {answer['missing']!r})", "airflow"
            )
        if "bug" in answer:
            raise RuntimeError(answer["bug"])
    if len(answers) != len(files):
        raise RuntimeError(f"the loader of DAG files ended early:\n{done.stderr[-4000:]}")
    return iter(answers)


def _outcome(file: str, answer: dict[str, Any]) -> list[DagReading] | SourceError:
    if "error" in answer:
        return DagFileError(file, **answer["error"])
    return [_reading(file, dag) for dag in answer["dags"]]


def _reading(file: str, dag: dict[str, Any]) -> DagReading:
    document = parse(json.dumps(dag["definition"]), f"{file}#{dag['dag_id']}")
    pipeline, _ = read_definition(replace(document, envelope=dag["envelope"]))
    losses = (Loss(**{**loss, "place": f"{file}:{loss['place']}"}) for loss in dag["losses"])
    return DagReading(dag["dag_id"], pipeline, tuple(losses), dag["line"], dag["lines"])


def _line(pointer: str, steps: list[Any], dag: DagReading) -> int:
    """The line of the innermost step that a pointer into the definition goes through."""
    line, here = dag.line, {"Steps": steps}
    node: Any = here
    for token in pointer.split("/")[1:]:
        try:
            node = node[int(token)] if isinstance(node, list) else node[token]
        except (LookupError, ValueError):
            break
        if isinstance(node, dict) and isinstance(node.get("Name"), str):
            line = dag.lines.get(node["Name"], line)
    return line
