"""How a retried execution continues the counters of its engine.

``executions retry`` runs an execution again on a new private engine, whose counters start again.
Attempts must not: their tries and generations only grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sagebridge_operators.lifecycle.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Retry:
    """The last retry of an execution; all fields are 0 if it was not retried.

    Attributes:
        number: how often it was retried.
        tries: the last engine try before the retry; attempts up to it are earlier ones.
        generations: added to the generations of the engine.
        again: steps that run again although they succeeded.
    """

    number: int = 0
    tries: int = 0
    generations: int = 0
    again: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> Retry:
        """The last retry in the record of an execution."""
        given = (record or {}).get("retry") or {}
        return cls(**{**given, "again": tuple(given.get("again", ()))})

    def next(self, attempts: Iterable[Attempt], again: Iterable[str] = ()) -> Retry:
        """The retry of an execution with these attempts, which also runs some steps ``again``."""
        found = list(attempts)
        tries = max((one.engine_try for one in found), default=0)
        generations = max((one.generation for one in found), default=-1) + 1
        tries, generations = max(tries, self.tries), max(generations, self.generations)
        return Retry(self.number + 1, tries, generations, tuple(again))

    def is_past(self, attempt: Attempt) -> bool:
        """Whether an attempt is an earlier one that the retry repeats."""
        earlier = self.number > 0 and attempt.engine_try <= self.tries
        return earlier and (attempt.state != "Succeeded" or attempt.step in self.again)

    def count(
        self, attempts: Iterable[Attempt], generation: int, engine_try: int, *, again: bool
    ) -> tuple[int, int]:
        """The generation and try that a worker starts, from those of its engine.

        A step that succeeded before keeps its own, and so its result, unless the engine runs it
        ``again`` in the retried execution.
        """
        if not self.number:
            return generation, engine_try
        last = max(attempts, key=lambda one: one.order, default=None)
        if last is not None and not again and self._keeps(last):
            return last.generation, last.engine_try
        return self.generations + generation, self.tries + engine_try

    def _keeps(self, attempt: Attempt) -> bool:
        earlier = attempt.engine_try <= self.tries and attempt.step not in self.again
        return earlier and attempt.state == "Succeeded"

    def as_json(self) -> dict[str, int]:
        return asdict(self)
