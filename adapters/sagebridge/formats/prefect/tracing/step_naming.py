"""Names for tasks, tests and failures, which become steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.display import free_name
from sagebridge.model.pipeline import Step, walk


@dataclass(frozen=True, slots=True)
class StepNames:
    """The names of steps.

    ``given`` maps each location in the code to its name, ``kinds`` each task, test and failure to
    its locations.
    """

    given: dict[Any, str] = field(default_factory=dict)
    kinds: dict[Any, list[Any]] = field(default_factory=dict)

    def of(self, wanted: str, kind: Any, key: Any, used: Iterable[str]) -> str:
        """The name for a location: the same on each path, and not one of ``used``."""
        if key not in self.given:
            plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in wanted).strip("-")
            plain = plain[:64] or "step"
            taken = {*self.given.values(), *used}
            self.given[key] = free_name(plain, taken, plain[:60], "-")
            self.kinds.setdefault(kind, []).append(key)
        return self.given[key]

    def in_order(self, steps: Sequence[Step]) -> Mapping[Any, str]:
        """The names, reassigned so that the first step of a kind has the one without a number.

        Names are assigned in the order of tracing, and the first path may skip the first step.
        """
        at = {step.name: position for position, step in enumerate(walk(steps))}
        ordered = dict(self.given)
        for keys in self.kinds.values():
            written = sorted(keys, key=lambda key: at.get(self.given[key], len(at)))
            ordered.update(zip(written, [self.given[key] for key in keys], strict=True))
        return ordered
