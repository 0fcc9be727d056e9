"""Airflow DAG files to the model: the file is imported in a subprocess, its live DAGs are read.

Reading a file executes its code, as Airflow's own parsing does, in an Airflow that is private and
empty, and that neither reaches the network nor writes
(:mod:`sagebridge.formats.python.import_guard`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sagebridge.errors import SourceError
from sagebridge.formats.python.file_readings import FileReader
from sagebridge.formats.python.import_caller import FileImporter
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

_IMPORTER = FileImporter(
    "sagebridge.formats.airflow.import_dags",
    "reading an Airflow file",
    "airflow",
    "an Airflow DAG",
)
_READER = FileReader("DAG", _IMPORTER.read_file)
read, read_all, read_one = _READER.read, _READER.read_all, _READER.read_one
read_files = _IMPORTER.read_files


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
