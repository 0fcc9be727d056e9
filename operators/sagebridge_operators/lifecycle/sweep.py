"""Finds and stops jobs that no worker handles any more, such as those of killed workers.

No hook runs when a machine dies, when a scheduler crashes, or when a deferred task is marked failed
while no triggerer runs. A sweep finds such jobs by their records, and by what the engine knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sagebridge_operators.lifecycle.attempt import FORMAT, Attempt, End
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.ending import PATIENCE, Ending
from sagebridge_operators.lifecycle.records import ExecutionRecords

LOST_FOR = timedelta(minutes=30)
"""How long a step may have no worker: long enough for its engine to retry it."""
WITHIN = timedelta(days=35)
"""The age of an execution up to which it is swept: a training job runs for 28 days at most.

SageMaker's limit of MaxRuntimeInSeconds ("Amazon SageMaker AI endpoints and quotas", AWS General
Reference).
"""
Watched = Callable[[Mapping[str, Any], Attempt], bool | None]
"""Whether the engine still handles an attempt of an execution, given the execution's record.

None if that is not known.
"""
_MAY_LEAVE_JOB = frozenset(("service", "time-limit", "lost-worker", "stopped"))
"""Kinds of failure that may end an attempt while its job still runs."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that no worker handles, although its job may still run; ``why`` is for users."""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class Swept:
    """A lost step. ``state`` is Stopped, Stopping, Unknown (``why`` has the error) or Found.

    Found is the state of a dry run.
    """

    execution: str
    step: str
    job: str
    state: str
    why: str

    @property
    def left(self) -> bool:
        """Whether its job may still run although it should have been stopped."""
        return self.state in ("Stopping", "Unknown")


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweeps executions.

    Args:
        backend_of: returns the backend of a job, from the record of its execution and its attempt.
        watched: what the engine knows.
        lost_for: how long a step may have no worker.
        within: older executions are not swept.
        dry_run: stop and change nothing.
        patience: seconds to wait for the stopped jobs of one execution.
    """

    records: ExecutionRecords
    backend_of: Callable[[Mapping[str, Any], Attempt], Backend]
    watched: Watched = lambda body, attempt: None
    lost_for: timedelta = LOST_FOR
    within: timedelta = WITHIN
    dry_run: bool = False
    patience: float = PATIENCE

    def run(self) -> Iterator[Swept]:
        """Stops the lost jobs of all executions; an execution with an error is one Unknown row."""
        since = (datetime.now(UTC) - self.within).date()
        for execution in self.records.ids(since):
            body = self.records.execution(execution)
            if body is None or body.get("format") != FORMAT:
                continue
            try:
                yield from self._sweep(execution, body)
            except Exception as error:  # noqa: BLE001 - the others are swept all the same
                yield Swept(execution, "", "", "Unknown", f"{type(error).__name__}: {error}")

    def _sweep(self, execution: str, body: Mapping[str, Any]) -> Iterator[Swept]:
        ending = Ending(self.records, execution, lambda attempt: self.backend_of(body, attempt))
        lost = list(lost_attempts(ending, self.lost_for, lambda one: self.watched(body, one)))
        left: dict[str, Exception | None] = {}
        if not self.dry_run:
            reason = "its worker was lost; stopped by a sweep"
            left = ending.stop_attempts([one.attempt for one in lost], reason, self.patience)
        for one in lost:
            job = one.attempt.parts[-1].name if one.attempt.parts else ""
            state, why = "Found" if self.dry_run else "Stopped", one.why
            if job in left:
                error = left[job]
                state = "Stopping" if error is None else "Unknown"
                why = one.why if error is None else str(error)
            shown = job.partition("|")[0]
            yield Swept(execution, one.attempt.name, shown, state, why)


def lost_attempts(
    ending: Ending,
    lost_for: timedelta = LOST_FOR,
    watched: Callable[[Attempt], bool | None] = lambda attempt: None,
) -> Iterator[Lost]:
    """The attempts of an execution that no worker handles.

    An attempt whose worker is known to be alive is never lost. Otherwise the engine decides, if it
    knows. Otherwise an attempt is lost if one of these holds:

    - its execution has ended
    - no worker has looked at its job for ``lost_for``, after the recorded ``next_look`` or since
      its worker was lost
    - its job has passed its maximum run time
    """
    records, present = ending.records, datetime.now(UTC)
    ended = records.end(ending.execution) is not None
    for attempt in ending.running():
        if records.attended(attempt):
            continue
        loop = attempt.items is not None  # a ForEach has no worker while its body runs
        if (handled := watched(attempt)) is not None:
            if not handled:
                yield Lost(attempt, "its task or run has ended")
        elif ended:
            yield Lost(attempt, "its execution has ended")
        elif loop:
            continue
        elif (since := _unwatched_since(records, attempt)) and present - since > lost_for:
            yield Lost(attempt, f"no worker has looked at it since {since:%Y-%m-%d %H:%M} UTC")
        elif not attempt.next_look and attempt.overdue:
            yield Lost(attempt, "it has passed its maximum run time")
    for one in records.attempts(ending.execution):
        if one.end is not None and one.parts and _may_leave_job(one.end):
            running = replace(one, phase="created", end=None)
            if _may_run(ending, running):
                yield Lost(running, "its step ended before it")


def _may_run(ending: Ending, attempt: Attempt) -> bool:
    """Whether the job runs; True if that is unknown, as its stop then reports the same error."""
    try:
        return ending.job_runs(attempt)
    except Exception:  # noqa: BLE001 - one job must not keep the others from being swept
        return True


def _unwatched_since(records: ExecutionRecords, attempt: Attempt) -> datetime | None:
    """Since when no worker looks at an attempt; None if that cannot be known.

    Without locks a job has no next look only if its worker was lost while it created the job.
    """
    if attempt.next_look:
        return datetime.fromisoformat(attempt.next_look)
    if records.attended(attempt) is None and attempt.parts:
        return datetime.fromisoformat(attempt.started)
    return records.unattended_since(attempt)


def _may_leave_job(end: End) -> bool:
    """Whether an attempt was ended while its job may have been running."""
    return end.failure is not None and end.failure.kind in _MAY_LEAVE_JOB
