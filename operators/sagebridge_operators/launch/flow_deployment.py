"""The flows of a source to deploy: those of a flow file, or of a file generated for it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sagebridge
from sagebridge.authoring.prefect_deployment import yaml_entry
from sagebridge.authoring.prefect_schedules import schedule_losses
from sagebridge.authoring.python_files import flow_functions, split_source
from sagebridge.authoring.runnable import CANNOT_RUN, why_pipeline_not_runnable
from sagebridge.authoring.schedule_rules import starter_losses
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.model.display import safe_stem
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.terminal.changes import NO_CHANGES, Changes
from sagebridge.terminal.source_files import content, write_file
from sagebridge_operators.run_errors import EditedFile


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A flow file and the pipelines of its flows, in file order.

    ``text`` is the content to generate, None for an existing file. ``wanted`` selects one flow of
    the file, None selects all.
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
        """Write the generated file. Raises EditedFile if that would overwrite local edits."""
        if self.text is None or not self.is_stale:
            return
        if self.path.exists() and not overwrite:
            raise EditedFile(str(self.path))
        write_file(self.path, self.text)

    @contextmanager
    def readable(self) -> Iterator[Path]:
        """The file; if it is stale, a temporary file with the new content."""
        if not self.is_stale:
            yield self.path
            return
        with TemporaryDirectory() as folder:
            copy = Path(folder, self.path.name)
            copy.write_text(self.text or "", encoding="utf-8")
            yield copy

    def functions(self) -> list[str]:
        """The names of the flow functions."""
        text = self.path.read_bytes() if self.text is None else self.text
        return [function.name for function in flow_functions(ast.parse(text))]


def flow_files(
    source: str,
    format: str | None,
    name: str | None,
    folder: Path,
    changes: Changes = NO_CHANGES,
) -> Iterator[FlowFile]:
    """The source itself if it is a flow file; otherwise one file in ``folder`` per pipeline.

    With ``changes``, flow files are generated for flow files, too.

    Raises SourceError, TranslationError and ScheduleError.
    """
    is_flow_file = is_flow_source(source, format)
    if is_flow_file and not changes:
        file, wanted = split_source(source)
        if name is not None:
            raise SourceError(source, "the name is set in the flow file", "remove --name")
        examined = sagebridge.read_checked(source, "prefect", every=True, own=True)
        findings = tuple(finding for one in examined for finding in one.findings)
        pipelines = tuple(one.pipeline for one in examined)
        losses = tuple(loss for one in pipelines for loss in _starter_losses(one))
        yield FlowFile(Path(file), pipelines, wanted=wanted, losses=losses, findings=findings)
        return
    checked = sagebridge.read_checked(source, format, every=True, own=is_flow_file)
    changed = changes.apply_all(
        one.pipeline if name is None else replace(one.pipeline, name=name) for one in checked
    )
    for one, pipeline in zip(checked, changed, strict=True):
        text, lost = sagebridge.write(pipeline, "prefect")
        path = folder / f"{safe_stem(pipeline.name or 'pipeline')}.py"
        if path.exists() and path.resolve() == Path(split_source(source)[0]).resolve():
            problem = f"the changed flow would be written to {path}, its source"
            raise SourceError(source, problem, "pass another folder with -o")
        losses = (*one.losses, *lost)
        findings = changes.findings(one.findings, pipeline)
        yield FlowFile(path, (pipeline,), text, losses=losses, findings=findings)


def _starter_losses(pipeline: Pipeline) -> Iterator[Loss]:
    """What a deployment does not have of a flow's schedules and event triggers."""
    yield from schedule_losses(pipeline)
    yield from starter_losses(pipeline, "prefect")


def is_flow_source(source: str, format: str | None = None) -> bool:
    """Whether a source is a flow file, not another source, such as ``prefect.yaml``."""
    is_prefect = (format or sagebridge.detect(source).name) == "prefect"
    return is_prefect and split_source(source)[0].endswith(".py")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployment of one flow, for Prefect's server and ``prefect.yaml``."""

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
    schedules: tuple[Mapping[str, Any], ...] = ()
    triggers: tuple[Mapping[str, Any], ...] = ()
    forwarded: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    concurrency: int | None = None

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"

    def body(self) -> dict[str, Any]:
        """The fields of an API request."""
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
            **self._limit,
        }

    @property
    def _limit(self) -> dict[str, int]:
        return {} if self.concurrency is None else {"concurrency_limit": self.concurrency}

    def entry(self) -> dict[str, Any]:
        """The entry for ``prefect.yaml``."""
        pool: dict[str, Any] = {"name": self.work_pool}
        if self.job_variables:
            pool["job_variables"] = dict(self.job_variables)
        return yaml_entry(
            {
                "name": self.name,
                "description": self.description,
                "entrypoint": self.entrypoint,
                "tags": list(self.tags),
                **self._limit,
                "work_pool": pool,
                "enforce_parameter_schema": True,
                "schedules": [dict(one) for one in self.schedules],
                "triggers": [dict(one) for one in self.triggers],
            }
        )


def tags_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The tags of the flow, those of a CreatePipeline request, and one if it cannot run.

    A tag of a request is ``Key:Value``.
    """
    found = list(pipeline.engine.tags)
    for tag in pipeline.tags if isinstance(pipeline.tags, tuple) else ():
        if isinstance(tag, Mapping) and tag.get("Key"):
            parts = (str(tag["Key"]), str(tag.get("Value") or ""))
            found.append(":".join(filter(None, parts)))
    if why_pipeline_not_runnable(pipeline) is not None:
        found.append(CANNOT_RUN)
    return tuple(dict.fromkeys(found))


def relative(path: Path, folder: Path) -> str:
    """A path for an entrypoint, relative to the folder in which workers start runs."""
    return Path(os.path.relpath(path, folder)).as_posix()
