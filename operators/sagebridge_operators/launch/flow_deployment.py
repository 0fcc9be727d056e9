"""What is deployed of a source: the flows of a flow file, its own or one written for it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sagebridge
from sagebridge.authoring.pipeline_builder import legal_name
from sagebridge.authoring.python_files import flow_functions, split_source
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.terminal.source_files import content, safe_stem, write_file
from sagebridge_operators.run_errors import FileKept


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A file, and the pipelines of its flows in its order.

    ``text`` is what it has to hold, None where it is a person's own; ``wanted`` is the flow that is
    meant of a file of several, None where all are.
    """

    path: Path
    pipelines: tuple[Pipeline, ...]
    text: str | None = None
    wanted: str | None = None
    losses: tuple[Loss, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_stale(self) -> bool:
        return self.text is not None and content(self.path) != self.text

    def write(self, *, overwrite: bool) -> None:
        """Raises FileKept where that would take away what a person wrote."""
        if self.text is None or not self.is_stale:
            return
        if self.path.exists() and not overwrite:
            raise FileKept(str(self.path))
        write_file(self.path, self.text)

    @contextmanager
    def readable(self) -> Iterator[Path]:
        """The file, or where it is not written a copy of what it would be."""
        if not self.is_stale:
            yield self.path
            return
        with TemporaryDirectory() as folder:
            copy = Path(folder, self.path.name)
            copy.write_text(self.text or "", encoding="utf-8")
            yield copy

    def functions(self) -> list[str]:
        """The functions that are flows."""
        text = self.path.read_bytes() if self.text is None else self.text
        return [function.name for function in flow_functions(ast.parse(text))]


def flow_files(
    source: str, format: str | None, name: str | None, folder: Path
) -> Iterator[FlowFile]:
    """The flow file that a source is, or those that ``folder`` gets for its pipelines.

    Raises SourceError and Untranslatable.
    """
    if (format or sagebridge.detect(source).name) == "prefect":
        file, wanted = split_source(source)
        if name is not None:
            raise SourceError(source, "a flow file says its flow's name", "leave --name out")
        examined = sagebridge.read_checked(source, "prefect", every=True)
        findings = tuple(finding for one in examined for finding in one.findings)
        pipelines = tuple(one.pipeline for one in examined)
        yield FlowFile(Path(file), pipelines, wanted=wanted, findings=findings)
        return
    for one in sagebridge.read_checked(source, format, every=True):
        pipeline = one.pipeline if name is None else replace(one.pipeline, name=name)
        text, lost = sagebridge.write(pipeline, "prefect")
        path = folder / f"{safe_stem(pipeline.name or 'pipeline')}.py"
        losses = (*one.losses, *lost)
        yield FlowFile(path, (pipeline,), text, losses=losses, findings=one.findings)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What Prefect's server and ``prefect.yaml`` have to say of one flow."""

    flow: str
    name: str
    entrypoint: str
    version: str | None
    description: str
    tags: tuple[str, ...]
    work_pool: str
    job_variables: Mapping[str, Any]
    parameters: Mapping[str, Any]
    folder: Path

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"

    def body(self) -> dict[str, Any]:
        """As the API has it."""
        folder = {"directory": str(self.folder)}
        return {
            "entrypoint": self.entrypoint,
            "version": self.version,
            "description": self.description,
            "tags": list(self.tags),
            "work_pool_name": self.work_pool,
            "job_variables": dict(self.job_variables),
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": folder}],
            "parameter_openapi_schema": dict(self.parameters),
            "enforce_parameter_schema": True,
        }

    def entry(self) -> dict[str, Any]:
        """As ``prefect.yaml`` has it, where text between braces would be a template."""
        pool: dict[str, Any] = {"name": self.work_pool}
        if self.job_variables:
            pool["job_variables"] = dict(self.job_variables)
        entry = {
            "name": self.name,
            "description": self.description,
            "entrypoint": self.entrypoint,
            "tags": [tag for tag in self.tags if "{{" not in tag],
            "work_pool": pool,
            "enforce_parameter_schema": True,
        }
        if not self.description or "{{" in self.description:
            del entry["description"]
        return entry


def deployment_name(pipeline: Pipeline) -> str:
    """Its name without what Prefect refuses, or takes for a template in ``prefect.yaml``."""
    return re.sub(r"[{}]", "_", legal_name(pipeline.name or "pipeline"))


def tags_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The tags of a CreatePipeline request, as ``Key:Value``."""
    found = []
    for tag in pipeline.tags if isinstance(pipeline.tags, tuple) else ():
        if isinstance(tag, Mapping) and tag.get("Key"):
            words = (str(tag["Key"]), str(tag.get("Value") or ""))
            found.append(":".join(filter(None, words)))
    return tuple(dict.fromkeys(found))


def relative(path: Path, folder: Path) -> str:
    """A path as an entrypoint says it from the folder that workers start in."""
    return Path(os.path.relpath(path, folder)).as_posix()
