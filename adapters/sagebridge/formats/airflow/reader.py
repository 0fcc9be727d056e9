"""Airflow DAG files to the model: the file is imported in a subprocess, its live DAGs are read.

Reading a file executes its code, as Airflow's own parsing does, in an Airflow that is private and
empty, and that neither reaches the network nor writes
(:mod:`sagebridge.formats.python.import_guard`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagebridge.authoring.definition_reader import read_definition
from sagebridge.authoring.json_document import parse
from sagebridge.authoring.python_files import split_source
from sagebridge.errors import MissingExtra, SourceError
from sagebridge.formats.python.file_readings import (
    FileReading,
    PythonFileError,
    chosen,
    missing,
    only,
)
from sagebridge.model.code_steps import with_code
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

LIMIT = 60.0
"""Seconds that one file may take to import."""


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of the one DAG of a file, or of the one that ``file.py#dag_id`` names.

    Raises :class:`SourceError` that names the DAGs where there are several, or says why the file
    cannot be read; :class:`MissingExtra` where Airflow is not installed.
    """
    found = read_one(source)
    return found.pipeline, found.losses


def read_all(source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipelines of all DAGs of a file, in the order in which they are made."""
    file, wanted = split_source(source)
    (outcome,) = read_files([file])
    return [(dag.pipeline, dag.losses) for dag in chosen(file, wanted, _raised(outcome), "DAG")]


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
) -> list[list[FileReading] | SourceError]:
    """The DAGs of each file, or why it cannot be read; one subprocess reads them all."""
    names = [str(file) for file in files]
    absent = [missing(name) for name in names]
    asked = [name for name, error in zip(names, absent, strict=True) if error is None]
    answers = _load(asked, limit) if asked else iter(())
    return [
        error if error is not None else _outcome(name, next(answers))
        for name, error in zip(names, absent, strict=True)
    ]


def read_one(source: Any) -> FileReading:
    file, wanted = split_source(source)
    (outcome,) = read_files([file])
    return only(file, chosen(file, wanted, _raised(outcome), "DAG"), "DAG")


def _raised(outcome: list[FileReading] | SourceError) -> list[FileReading]:
    if isinstance(outcome, SourceError):
        raise outcome
    return outcome


def _load(files: list[str], limit: float) -> Iterator[dict[str, Any]]:
    """The loader's answers for files, in their order."""
    asked = {"files": [str(Path(file).resolve()) for file in files], "limit": limit}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sagebridge.formats.airflow.import_dags"],
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


def _outcome(file: str, answer: dict[str, Any]) -> list[FileReading] | SourceError:
    if "error" in answer:
        return PythonFileError(file, **answer["error"])
    return [_reading(file, dag) for dag in answer["dags"]]


def _reading(file: str, dag: dict[str, Any]) -> FileReading:
    document = parse(json.dumps(dag["definition"]), f"{file}#{dag['dag_id']}")
    pipeline, _ = read_definition(replace(document, envelope=dag["envelope"]))
    losses = (Loss(**{**loss, "place": f"{file}:{loss['place']}"}) for loss in dag["losses"])
    pipeline = replace(with_code(pipeline, dag["code"], file), origin="an Airflow DAG")
    return FileReading(dag["dag_id"], pipeline, tuple(losses), dag["line"], dag["lines"])
