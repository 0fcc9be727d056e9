"""Read Airflow DAG files by importing them in a subprocess.

As in Airflow's own parser, reading a file executes its code. The subprocess uses an empty Airflow
home and cannot use the network or write files (:mod:`sagebridge.formats.python.import_guard`).
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
    """Like :func:`read_all` for many files in one subprocess, with an error for each bad file."""
    return [
        outcome
        if isinstance(outcome, SourceError)
        else [(dag.pipeline, dag.losses) for dag in outcome]
        for outcome in read_files(files)
    ]
