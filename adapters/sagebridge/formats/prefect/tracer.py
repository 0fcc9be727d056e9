"""Hand-written Prefect flows to the model: each is called with symbols for its parameters.

The file is imported in a subprocess, as DAG files are
(:mod:`sagebridge.formats.python.import_process`), so that nothing is started, sent or written; no
flow, task or step runs. Each test on what is known only at run time goes both ways, and the ways
through a flow become one pipeline (:mod:`sagebridge.formats.prefect.tracing`).
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
    """The pipeline of each flow of a file, and what tracing lost, in the file's order.

    Raises :class:`SourceError` where the file cannot be read or a flow cannot be traced, and
    :class:`MissingExtra` where Prefect is not installed.
    """
    return [(one.pipeline, one.losses) for one in trace_flows(path)]


def trace_flows(path: Path) -> list[FileReading]:
    """As :func:`trace`, with the lines of flows and steps."""
    return _IMPORTER.read_file(path)
