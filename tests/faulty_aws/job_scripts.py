"""Scripts for the statuses that jobs walk through."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobScript:
    """The walk of the jobs whose name matches the glob ``name``.

    ``kind`` is a glob too: Processing, Training, Transform or ModelPackage (whose name is
    ``GROUP/VERSION``). Each of ``statuses`` but the last is shown by ``looks`` Describe calls, or
    for ``seconds`` if given; the last one stays, so one status alone never changes. After Stop the
    job walks through ``stop_statuses`` in the same way. ``members`` are added to what Describe
    returns once the last status is reached, for example FailureReason or ExitMessage; those of
    ``under`` only as far as the service shows no such member itself.

    A script applies to jobs that are created after it was added, and with ``running`` also to
    matching jobs that have not ended. The script added last wins.
    """

    name: str = "*"
    kind: str = "*"
    statuses: tuple[str, ...] = ("InProgress", "Completed")
    looks: int = 1
    seconds: float | None = None
    stop_statuses: tuple[str, ...] = ("Stopping", "Stopped")
    stop_looks: int = 1
    stop_seconds: float | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    under: Mapping[str, Any] = field(default_factory=dict)
    running: bool = False

    def __post_init__(self) -> None:
        if not self.statuses or not self.stop_statuses:
            raise ValueError("a job script needs at least one status")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobScript:
        """Raises ValueError for an unknown key."""
        if unknown := sorted(value.keys() - {one.name for one in fields(cls)}):
            raise ValueError(f"unknown keys in a job script: {', '.join(unknown)}")
        lists = {k: tuple(v) for k, v in value.items() if k in ("statuses", "stop_statuses")}
        return cls(**{**value, **lists})

    def to_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def matches(self, kind: str, name: str) -> bool:
        return fnmatchcase(name, self.name) and fnmatchcase(kind, self.kind)

    def walk(self) -> Walk:
        return Walk(self.statuses, self.looks, self.seconds)

    def stop_walk(self) -> Walk:
        return Walk(self.stop_statuses, self.stop_looks, self.stop_seconds)


class Walk:
    """The position of one job in its list of statuses. Not thread-safe."""

    def __init__(self, statuses: tuple[str, ...], looks: int, seconds: float | None) -> None:
        self._statuses = statuses
        self._looks = looks
        self._seconds = seconds
        self._began = time.monotonic()
        self._began_epoch = time.time()
        self._seen = 0
        self._entered = [self._began_epoch]

    def look(self, *, counts: bool = True) -> str:
        """The status now. With ``counts=False`` it is the one that the last counted look showed."""
        last = len(self._statuses) - 1
        if self._seconds is not None:
            elapsed = time.monotonic() - self._began
            at = min(int(elapsed // self._seconds), last) if self._seconds > 0 else last
        else:
            seen = self._seen if counts else max(self._seen - 1, 0)
            at = min(seen // self._looks, last) if self._looks > 0 else last
            self._seen += counts
        while len(self._entered) <= at:
            paced = self._began_epoch + (self._seconds or 0.0) * len(self._entered)
            self._entered.append(paced if self._seconds is not None else time.time())
        return self._statuses[at]

    @property
    def at_last(self) -> bool:
        """Whether the status of the last look was the last one."""
        return len(self._entered) == len(self._statuses)

    @property
    def history(self) -> list[tuple[str, float]]:
        """The statuses so far, each with the time at which it began, in seconds since the epoch."""
        return list(zip(self._statuses, self._entered, strict=False))


def merged(under: Any, over: Any) -> Any:
    """Two JSON values as one: objects by key, lists by position, otherwise ``over``."""
    if isinstance(under, Mapping) and isinstance(over, Mapping):
        return {
            **under,
            **{
                name: merged(under[name], value) if name in under else value
                for name, value in over.items()
            },
        }
    if isinstance(under, list) and isinstance(over, list):
        pairs = [merged(one, other) for one, other in zip(under, over, strict=False)]
        return [*pairs, *(under if len(under) > len(over) else over)[len(pairs) :]]
    return over
