"""What steps are called that have no name of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagebridge.model.display import free_name
from sagebridge.model.pipeline import Step, walk


@dataclass(frozen=True, slots=True)
class Names:
    """A name for each place; ``kinds`` has the places of each task, test and failure."""

    given: dict[Any, str] = field(default_factory=dict)
    kinds: dict[Any, list[Any]] = field(default_factory=dict)

    def of(self, wanted: str, kind: Any, key: Any, used: Iterable[str]) -> str:
        """The name of a place: the same on each way, and none of those that are ``used``."""
        if key not in self.given:
            plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in wanted).strip("-")
            plain = plain[:64] or "step"
            taken = {*self.given.values(), *used}
            self.given[key] = free_name(plain, taken, plain[:60], "-")
            self.kinds.setdefault(kind, []).append(key)
        return self.given[key]

    def in_order(self, steps: Sequence[Step]) -> Mapping[Any, str]:
        """The names, so that of several steps of one kind the first has the one without number.

        They are given as they come up, and a way through a flow may leave out the first.
        """
        at = {step.name: position for position, step in enumerate(walk(steps))}
        ordered = dict(self.given)
        for keys in self.kinds.values():
            written = sorted(keys, key=lambda key: at.get(self.given[key], len(at)))
            ordered.update(zip(written, [self.given[key] for key in keys], strict=True))
        return ordered
