"""Execution records: one JSON object per execution and per attempt, in a folder or in S3.

Keys below ``<location>/<execution>/``:

- ``execution.json``: the execution; only :mod:`~.opening` writes it
- ``definition.json``: the pipeline definition, with its secrets masked
- ``steps/<step>/<generation>.<index>.<number>.json``: one attempt of a step
- ``experiment.json``: exists once :mod:`~.experiments` has created the experiment and trial
- ``stop.json``: exists once a stop was requested
- ``end.json``: the end of the execution; only :mod:`~.ending` writes it

Next to the executions, ``cache/<pipeline>/<step>/<digest>.json`` is the newest success with a cache
key (see :mod:`~.caching`), so that finding it reads one object.

Attempts are written conditionally: of two writers, the one with the later phase wins. Records of
attempts do not contain the environment of a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sagebridge_operators.lifecycle.attempt import Attempt, Phase, now
from sagebridge_operators.lifecycle.masking import mask
from sagebridge_operators.lifecycle.objects import Objects, WriteConflict, key_part
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.run_errors import (
    AmbiguousExecution,
    OlderRecord,
    UnknownExecution,
)

DAYS = "by-day/"
"""Prefix of an index of all executions: an empty ``by-day/<date>/<time>-<execution>.json`` each."""
_WORST = {"Executing": 4, "Stopping": 4, "Failed": 3, "Stopped": 2, "Succeeded": 1, "Skipped": 0}


@dataclass(frozen=True, slots=True)
class ExecutionRecords:
    """Reads and writes the records of all executions."""

    objects: Objects

    def save(self, attempt: Attempt, *, over: Phase | None = None) -> Attempt:
        """Writes an attempt and returns the attempt that is now recorded.

        That is another one if the record is already in a later phase: a late writer loses. With
        ``over``, the record must not be in a phase after that one.
        """
        key, body = _key(attempt), attempt.as_json()
        while True:
            stored = self.objects.read(key)
            there = None if stored is None else Attempt.from_json(stored.body)
            if there is not None and not there.may_become(attempt):
                return there
            if there is not None and over is not None and there.is_past(over):
                return there
            try:
                if stored is None:
                    self.objects.create(key, body)
                elif there != attempt:
                    self.objects.replace(key, body, stored.version)
            except WriteConflict:
                continue
            self._offer(attempt)
            return attempt

    def _offer(self, attempt: Attempt) -> None:
        """Lets later runs of the step reuse a success that has a cache key."""
        end = attempt.end
        if not attempt.digest or end is None or end.state != "Succeeded" or end.cached_from:
            return
        there = self.cached(attempt.digest)
        if there is None or there["ended"] < end.at:
            job = attempt.parts[-1].name
            body = {"execution": attempt.execution, "step": attempt.step, "job": job}
            self.objects.put(_cache_key(attempt.digest), {**body, "ended": end.at})

    def cached(self, digest: str) -> dict[str, Any] | None:
        """The newest success with a cache key: its execution, step, job and end."""
        return self._body(_cache_key(digest))

    def attend(self, attempt: Attempt) -> AbstractContextManager[int | None]:
        """Marks the step as in progress by this process; yields the lock's descriptor, if any."""
        return self.objects.attend(_lock_key(attempt))

    def attended(self, attempt: Attempt) -> bool | None:
        """Whether a worker is at the step; None if that cannot be known, as in S3."""
        return self.objects.attended(_lock_key(attempt))

    def beat(self, attempt: Attempt) -> None:
        """Records that the worker at the step is alive."""
        self.objects.beat(_lock_key(attempt))

    def unattended_since(self, attempt: Attempt) -> datetime | None:
        """When the last worker left the step; None if one is at it or that cannot be known."""
        if self.attended(attempt) is not False:
            return None
        return self.objects.last_beat(_lock_key(attempt))

    def request_stop(self, execution: str) -> None:
        """Records a stop request, so that no further step starts. Does not stop any job."""
        self.objects.put(f"{execution}/stop.json", {"requested": now()})

    def stop_requested(self, execution: str) -> bool:
        return self.objects.read(f"{execution}/stop.json") is not None

    def ids(self, since: date = date.min) -> list[str]:
        """The ids of all executions, newest first; records without a ``by-day`` entry come last.

        Executions that are known to have started before ``since`` are left out.
        """
        keys = list(self.objects.keys(""))
        opened = sorted((key for key in keys if key.startswith(DAYS)), reverse=True)
        indexed = {key.removesuffix(".json").rpartition("-")[2]: key for key in opened}
        found = (key.partition("/")[0] for key in keys if key.endswith("/execution.json"))
        first = f"{DAYS}{since.isoformat()}"
        known = dict.fromkeys((*indexed, *found))
        return [one for one in known if indexed.get(one, first) >= first]

    def execution(self, execution: str) -> dict[str, Any] | None:
        return self._body(f"{execution}/execution.json")

    def end(self, execution: str) -> dict[str, Any] | None:
        return self._body(f"{execution}/end.json")

    def definition(self, execution: str) -> dict[str, Any]:
        return self._body(f"{execution}/definition.json") or {"Steps": []}

    def describe(self, execution: str, definition: Mapping[str, Any]) -> None:
        """Records the definition. It may grow while a flow runs."""
        self.objects.put(f"{execution}/definition.json", mask(definition))

    def _body(self, key: str) -> dict[str, Any] | None:
        stored = self.objects.read(key)
        return None if stored is None else stored.body

    def attempts(
        self, execution: str, step: str | None = None, index: tuple[int, ...] | None = None
    ) -> list[Attempt]:
        """All attempts of an execution, a step or an index. Raises :class:`OlderRecord`."""
        below = f"{execution}/steps/"
        found = []
        for key in self.objects.keys(below if step is None else f"{below}{key_part(step)}/"):
            if "/" not in key.removeprefix(below):
                raise OlderRecord(f"execution {execution}")
            if index is not None and key.rpartition("/")[2].split(".")[1] != _index_text(index):
                continue
            if (body := self._body(key)) is not None:
                found.append(Attempt.from_json(body))
        return found

    def current(self, execution: str) -> list[Attempt]:
        """The latest attempt of each step and index; without those that a retry repeats."""
        retry = Retry.of(self.execution(execution))
        return [one for one in self.latest(execution) if not retry.is_past(one)]

    def latest(self, execution: str) -> list[Attempt]:
        """The latest attempt of each step and index."""
        latest: dict[tuple[str, tuple[int, ...]], Attempt] = {}
        for one in sorted(self.attempts(execution), key=lambda one: one.order):
            latest[one.step, one.index] = one
        return list(latest.values())

    def steps(self, execution: str) -> dict[str, Attempt]:
        """One attempt for each step that has started, by the step's name.

        A mapped step has one attempt per index. The first of these states is chosen: running,
        Failed, Stopped, Succeeded, Skipped.
        """
        return by_step(self.current(execution))

    def resolve(self, text: str) -> str:
        """The id that starts with ``text``; the newest id if ``text`` is empty.

        Raises UnknownExecution or AmbiguousExecution.
        """
        known = self.ids()
        matching = [name for name in known if name.startswith(text)] if text else known[:1]
        if text in known:
            return text
        if not matching:
            raise UnknownExecution(text, known, self.objects.location)
        if len(matching) > 1:
            raise AmbiguousExecution(text, matching)
        return matching[0]


def by_step(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    """As :meth:`ExecutionRecords.steps`, from the given attempts."""
    found: dict[str, Attempt] = {}
    for one in sorted(attempts, key=lambda one: (one.index, one.order)):
        before = found.get(one.step)
        if before is None or _WORST[one.state] > _WORST[before.state]:
            found[one.step] = one
    return found


def _key(attempt: Attempt) -> str:
    name = f"{attempt.generation}.{_index_text(attempt.index)}.{attempt.number}"
    return f"{_folder(attempt.execution, attempt.step)}/{name}.json"


def _cache_key(digest: str) -> str:
    return f"cache/{digest}.json"


def _lock_key(attempt: Attempt) -> str:
    return f"{_folder(attempt.execution, attempt.step)}/{_index_text(attempt.index)}.worker"


def _index_text(index: tuple[int, ...]) -> str:
    return "-".join(map(str, index)) or "_"


def _folder(execution: str, step: str) -> str:
    return f"{execution}/steps/{key_part(step)}"
