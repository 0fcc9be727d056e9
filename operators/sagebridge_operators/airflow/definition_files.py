"""Definition files that become DAGs: their names, and a cache of what was read from them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import sagebridge
from sagebridge.authoring.dag_pipeline import legal_id
from sagebridge.errors import SagebridgeError
from sagebridge.model.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Definition:
    """A file with a definition or a CreatePipeline document.

    ``name`` is the name of the pipeline if the file has none.
    """

    path: Path
    name: str

    def may_have_id(self, dag_id: str) -> bool:
        """Whether the DAG of this file may have this id; found without reading the pipeline."""
        if legal_id(self.name) == dag_id:
            return True
        try:
            document = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False  # its DAG is named after the file
        if not isinstance(document, dict):
            return False
        declared = document.get("PipelineName")
        in_template = "Resources" in document  # of CloudFormation, which has the name further down
        return in_template or (isinstance(declared, str) and legal_id(declared) == dag_id)

    def read(self) -> Pipeline | str:
        """The pipeline, or the reason why it cannot be read. Cached until the file changes."""
        try:
            stat = self.path.stat()
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        read = _read(self.path, stat.st_mtime_ns, stat.st_size)
        if isinstance(read, Pipeline) and read.name in (None, self.path.stem):
            return replace(read, name=self.name)
        return read


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int, size: int) -> Pipeline | str:
    """Reads and checks a file; its time and size are only the key of the cache."""
    try:
        (checked,) = sagebridge.read_checked(str(path), "sagemaker")
    except SagebridgeError as error:
        return str(error)
    errors = [found for found in checked.findings if found.severity == "error"]
    if errors:
        places = (f"line {found.line}: {found.message} [{found.code}]" for found in errors)
        return f"{path}: " + "; ".join(places)
    return checked.pipeline
