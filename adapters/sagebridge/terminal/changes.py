"""Changes that options of a command make to each pipeline that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from sagebridge.environment_mapping import REPLACE, Entry, Stage
from sagebridge.model.pipeline import Pipeline
from sagebridge.terminal.console import printable


@dataclass(slots=True)
class Changes:
    """The changes of ``--map``; ``used`` are the entries that matched something."""

    stage: Stage
    used: set[Entry] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.stage.changes)

    def apply(self, pipeline: Pipeline) -> Pipeline:
        """The changed pipeline. Raises ParameterError."""
        pipeline, used = self.stage.apply(pipeline)
        self.used |= used
        return pipeline

    @property
    def mapped(self) -> frozenset[str]:
        """The strings that were replaced."""
        return frozenset(old for kind, old in self.used if kind == REPLACE)

    def warn(self) -> None:
        """Print a warning for each entry that matched nothing in any pipeline."""
        for entry in self.stage.unused(self.used):
            click.echo(printable(f"warning: {entry} matches nothing"), err=True)

    def as_json(self) -> list[list[Any]]:
        """The changes as rows of kind, name and new value, for a record."""
        return [[*entry, new] for entry, new in self.stage.changes.items()]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[Any]]) -> Changes:
        return cls(Stage({(kind, name): new for kind, name, new in rows}))
