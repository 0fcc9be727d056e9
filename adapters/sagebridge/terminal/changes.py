"""Changes that options of a command make to each pipeline that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

import sagebridge
from sagebridge.authoring.schedule_rules import CODES
from sagebridge.authoring.scheduled_pipeline import with_schedules
from sagebridge.environment_mapping import REPLACE, Entry, Stage
from sagebridge.errors import UsageError
from sagebridge.findings import Finding
from sagebridge.model.pipeline import Pipeline
from sagebridge.python_findings import schedule_findings
from sagebridge.terminal.console import printable


@dataclass(slots=True)
class Changes:
    """The changes of ``--map`` and ``--schedules``.

    ``schedules`` is the source with the schedules; ``used`` are the entries of ``stage`` that
    matched something.
    """

    stage: Stage
    schedules: str | None = None
    used: set[Entry] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.stage.changes) or self.schedules is not None

    def check_sources(self, number: int) -> None:
        """Raise UsageError for ``--schedules`` with several sources or pipelines."""
        if self.schedules is not None and number > 1:
            raise UsageError("--schedules requires a single pipeline, such as FILE#NAME")

    def apply(self, pipeline: Pipeline) -> Pipeline:
        """The changed pipeline. Raises ParameterError, or SourceError for ``schedules``."""
        (changed,) = self.apply_all([pipeline])
        return changed

    def apply_all(self, pipelines: Iterable[Pipeline]) -> list[Pipeline]:
        """The changed pipelines of one source. Raises UsageError, too."""
        found = list(pipelines)
        self.check_sources(len(found))
        if self.schedules is not None:
            found = [self._scheduled(self.schedules, one) for one in found]
        changed = []
        for pipeline in found:
            result, used = self.stage.apply(pipeline)
            self.used |= used
            changed.append(result)
        return changed

    def _scheduled(self, source: str, pipeline: Pipeline) -> Pipeline:
        other, losses = sagebridge.read(source)
        for loss in losses:
            click.echo(printable(str(loss)), err=True)
        if other.name and pipeline.name and other.name.casefold() != pipeline.name.casefold():
            what = f"{source} starts pipeline {other.name!r}, not {pipeline.name!r}"
            click.echo(printable(f"warning: --schedules: {what}"), err=True)
        return with_schedules(pipeline, other)

    def findings(self, found: Sequence[Finding], pipeline: Pipeline) -> tuple[Finding, ...]:
        """The findings of a source, with those of the changed pipeline's schedules."""
        if not self:
            return tuple(found)
        return (*(one for one in found if one.code not in CODES), *schedule_findings(pipeline))

    @property
    def mapped(self) -> frozenset[str]:
        """The strings that were replaced."""
        return frozenset(old for kind, old in self.used if kind == REPLACE)

    def warn(self) -> None:
        """Print a warning for each entry that matched nothing in any pipeline."""
        for entry in self.stage.unused(self.used):
            click.echo(printable(f"warning: {entry} matches nothing"), err=True)

    def as_json(self) -> list[list[Any]]:
        """The changes of ``--map`` as rows of kind, name and new value, for a record."""
        return [[*entry, new] for entry, new in self.stage.changes.items()]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[Any]]) -> Changes:
        return cls(Stage({(kind, name): new for kind, name, new in rows}))


NO_CHANGES = Changes(Stage())
