"""What one task run of a flow runs: a step, or a step in the body of a ForEach for one item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepKey:
    """A step, and in the body of a ForEach the index of its item."""

    step: str
    index: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The name of the task run, such as ``Score-0``."""
        return "-".join((self.step, *map(str, self.index)))


Upstream = Mapping[StepKey, str]
"""Upstream steps, with their states."""
