"""Prefect flows of anybody's making to the model: each is called with symbolic parameters.

The file is imported in a subprocess under the guard that reads DAG files too, so that nothing is
started, sent or written; no flow, task or step runs. See :mod:`sagebridge.formats.prefect.paths`
for how the ways through a flow become one pipeline.
"""

from __future__ import annotations

from pathlib import Path

from sagebridge.errors import SourceError
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline


def trace(path: Path) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipeline of each flow of a file, and what tracing lost, in the file's order.

    Raises :class:`SourceError` where the file cannot be read or a flow cannot be traced.
    """
    raise SourceError(str(path), "flows outside sagebridge's own form cannot be traced yet")
