"""Read hand-written Prefect flows by following their functions, statement by statement.

The file is imported in a subprocess, as DAG files are
(:mod:`sagebridge.formats.python.import_process`). No flow, task or step runs, and nothing is
started, sent or written (:mod:`sagebridge.formats.prefect.tracing`).
"""

from __future__ import annotations

from pathlib import Path

from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.python.import_caller import FileImporter
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

ORIGIN = "a Prefect flow"
_IMPORTER = FileImporter(
    "sagebridge.formats.prefect.import_flows", "tracing a Prefect flow", "prefect", ORIGIN
)


def trace(path: Path) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipeline and the losses of each flow in a file, in order.

    Raises :class:`SourceError` if the file cannot be read or a flow cannot be traced, and
    :class:`MissingExtra` if Prefect is not installed.
    """
    return [(one.pipeline, one.losses) for one in trace_flows(path)]


def trace_flows(path: Path) -> list[FileReading]:
    """Like :func:`trace`, with the lines of flows and steps."""
    return _IMPORTER.read_file(path)
