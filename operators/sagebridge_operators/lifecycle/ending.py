"""Ends an execution: stops its jobs, marks its steps, writes its end.

The order is the same for Ctrl-C, a killed command, ``executions stop``, a cancelled run and an
engine that crashed: no further step starts, jobs are stopped while workers may record it, workers
end, what is left is stopped and marked, the end is written. No other module writes the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import sagebridge
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.advance import Description, verdict_of
from sagebridge_operators.lifecycle.attempt import Attempt, End, now
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.opening import first_attempt
from sagebridge_operators.lifecycle.outages import is_outage
from sagebridge_operators.lifecycle.outputs import job_outputs, references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords, by_step
from sagebridge_operators.lifecycle.step_states import Status, verdict
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.run_errors import FailureKind, FinalState
from sagebridge_operators.steps import JOB_TYPES

PATIENCE = 60.0
"""Seconds in which jobs are expected to have stopped; local ones are killed after 30."""
INTERRUPTED = "the flow run was interrupted"
"""All that a flow's own process knows of what ends it; a caller that knows more overwrites it."""

_BEFORE_ITS_JOB = frozenset(("service", "time-limit", "lost-worker", "stopped"))
_WORKER_ANSWERS = 15.0
_PAUSE, _LONGEST_PAUSE = 0.3, 5.0


@dataclass(frozen=True)
class Ending:
    """``backend_of`` gives the backend of an attempt's job."""

    records: ExecutionRecords
    execution: str
    backend_of: Callable[[Attempt], Backend]

    def stop(self, patience: float = PATIENCE, *, code: bool = False) -> list[str]:
        """Stops the steps and waits for it; returns the steps that have not ended by then.

        With ``code`` users' code that runs in a worker is waited for as jobs are: for callers that
        do not end the workers.
        """
        self.records.request_stop(self.execution)
        asked: set[str] = set()
        began = time.monotonic()
        for pause in _pauses():
            left = self.mark_lost("a stop was requested after its worker was lost")
            refused = self._request_stops(left, asked)
            known = [one.step for one in left if one.job or (code and one.type in CODE_TYPES)]
            waited = time.monotonic() - began
            # Any other step is about to make a job, or its worker is gone.
            if waited > patience or not (left if waited < _WORKER_ANSWERS else known):
                break
            _raise_verdict(refused)
            time.sleep(pause)
        if refused is not None:
            raise refused
        return list(dict.fromkeys(known))

    def stop_jobs(self) -> None:
        """Asks the service to stop every job that still runs: all, before a refusal is raised."""
        if (refused := self._request_stops(self.running(), set())) is not None:
            raise refused

    def abort(
        self,
        status: FinalState,
        reason: str,
        *,
        end_workers: Callable[[], object] = lambda: None,
        workers: bool,
        keep_stopped: bool = False,
    ) -> None:
        """Ends an execution that goes on.

        Args:
            status: how it ended.
            reason: why, as users see it.
            end_workers: ends them; called whatever the service answers.
            workers: whether there are any left to record how their jobs end.
            keep_stopped: keep the reason of a stop that is recorded already.
        """
        with ExitStack() as order:  # the last one first, and each whatever became of the others
            order.callback(self._write_end, status, reason, keep_stopped=keep_stopped)
            order.callback(self.settle, status, reason)
            # A worker may have started a job until it ended.
            order.callback(self.stop_jobs if workers else self.stop)
            order.callback(end_workers)
            if workers:
                self.stop()

    def conclude(self, pipeline: Pipeline, early: str = "", title: str = "its engine") -> Status:
        """Writes the end that the steps add up to, unless one is written, once an engine ended.

        ``early`` is why it ended before its steps did, if it is known.
        """
        if (end := self.records.end(self.execution)) is not None:
            return Status(end["status"], end.get("reason") or "")
        found = verdict(
            pipeline,
            self.records.steps(self.execution),
            stop_requested=self.records.stop_requested(self.execution),
        )
        if early or found.status == "Executing":
            found = Status("Failed", early or f"the run was ended in {title} before its steps were")
        self._write_end(found.status, found.reason)
        return found

    def record_interruption(self, status: FinalState, reason: str) -> None:
        """Writes the end of a flow whose own process was interrupted and has stopped its steps."""
        self._write_end(status, reason)

    def lost(self, lost_for: timedelta) -> list[Attempt]:
        """Attempts that no engine goes on with, though their jobs may run.

        Those are attempts of an execution that has ended, attempts that no worker has been at for
        that long, attempts beyond the maximum run time of their job, and attempts that were given
        up while their job ran. None that a worker is known to be at is lost.
        """
        ended, present = self.records.end(self.execution) is not None, datetime.now(UTC)

        def is_lost(attempt: Attempt) -> bool:
            if self.records.attended(attempt):
                return False
            if attempt.deadline and datetime.fromisoformat(attempt.deadline) < present:
                return True
            since = self.records.unattended_since(attempt)
            return ended or (since is not None and present - since > lost_for)

        given_up = [
            replace(one, phase="created", end=None)
            for one in self.records.attempts(self.execution)
            if one.end is not None and one.parts and _was_given_up(one.end)
        ]
        left_behind = [one for one in given_up if self._job_runs(one)]
        return [*filter(is_lost, self.running()), *left_behind]

    def stop_attempts(self, lost: Iterable[Attempt], patience: float = PATIENCE) -> list[str]:
        """Stops attempts and waits for it; returns the steps that have not ended by then.

        The execution itself goes on: a step that its engine starts again gets a new job. Raises
        what the service answered where it refused.
        """
        asked: set[str] = set()
        until = time.monotonic() + patience
        left = list(lost)
        for one in left:
            if one.job is None:
                text = "its worker was lost, and the step was swept"
                self.records.save(one.failing("lost-worker", text, state="Stopped"))
        for pause in _pauses():
            left = [one for one in left if one.job is not None and self._goes_on(one)]
            refused = self._request_stops(left, asked)
            if not left or time.monotonic() > until:
                break
            _raise_verdict(refused)
            time.sleep(pause)
        if refused is not None:
            raise refused
        return [one.step for one in left]

    def _goes_on(self, attempt: Attempt) -> bool:
        """Whether the job runs, for all that is known; its end is recorded."""
        found = self._looked_at(attempt)
        if not found.running:
            self.records.save(found)
        return found.running

    def settle(self, status: FinalState, reason: str) -> None:
        """Ends the attempts that no worker is left to end: as their jobs did, else with ``status``.

        Only once no worker is left.
        """
        for attempt in self.running():
            kind: FailureKind = "stopped" if status == "Stopped" else "lost-worker"
            self.records.save(attempt.failing(kind, reason, state=status))

    def mark_lost(self, reason: str, *, no_worker: bool = False) -> list[Attempt]:
        """Ends attempts without a job whose workers are lost, as far as that can be known.

        Returns the attempts that are left. With ``no_worker`` all workers are lost. None of the
        attempts begins again: a stop was requested, or the engine is gone.
        """
        left = []
        for attempt in self.running():
            lost = no_worker or self.records.attended(attempt) is False
            if lost and attempt.job is None:
                self.records.save(attempt.failing("stopped", reason, state="Stopped"))
            else:
                left.append(attempt)
        return left

    def mark_failed(self, step: str, type_: str, reason: str, *, started: str, ended: str) -> None:
        """Ends the attempt of a step whose worker was lost for good."""
        found = self.records.steps(self.execution).get(step)
        attempt = found or replace(first_attempt(self.execution, step, type_), started=started)
        failed = attempt.failing("lost-worker", reason)
        assert failed.end is not None
        self.records.save(replace(failed, end=replace(failed.end, at=ended)))

    def running(self) -> list[Attempt]:
        """The attempts that have not ended. Ends of jobs that no worker recorded are recorded."""
        left = []
        for attempt in self.records.current(self.execution):
            found = self._looked_at(attempt)
            if found != attempt and not found.running:
                found = self.records.save(found)
            if found.running:
                left.append(found)
        return left

    def _looked_at(self, attempt: Attempt) -> Attempt:
        """As :meth:`refreshed`, or as it is recorded while its service does not answer."""
        try:
            return self.refreshed(attempt)
        except Exception as error:
            if not is_outage(error):
                raise
            return attempt

    def _job_runs(self, attempt: Attempt) -> bool:
        job_type = JOB_TYPES[attempt.type]
        client = self.backend_of(attempt).client(job_type.service)
        found = job_type.find(client, attempt.parts[-1].name)
        return found is not None and job_type.state(found) == "Executing"

    def refreshed(self, attempt: Attempt) -> Attempt:
        """An attempt with the state that its job has by now, whatever became of its worker.

        A job that a worker made and could not record has the name that was recorded before.
        """
        job_type = JOB_TYPES.get(attempt.type)
        if not attempt.running or job_type is None or not attempt.parts:
            return attempt
        part = attempt.parts[-1]
        client = self.backend_of(attempt).client(job_type.service)
        description = job_type.find(client, part.name)
        if description is None:
            return attempt
        part = replace(part, arn=description.get(job_type.arn_key))
        phase = "created" if attempt.phase == "planned" else attempt.phase
        found = replace(attempt, phase=phase, parts=(part,))
        return verdict_of(found, job_type, description, self._outputs)

    def _outputs(self, attempt: Attempt, description: Description) -> dict[str, Any]:
        step = self._pipeline.step(attempt.step)
        references = references_to(attempt.step, self._pipeline.steps)
        return job_outputs(attempt, JOB_TYPES[attempt.type], description, step, references)

    @cached_property
    def _pipeline(self) -> Pipeline:
        return sagebridge.read(self.records.definition(self.execution)).pipeline

    def _request_stops(self, left: Iterable[Attempt], asked: set[str]) -> Exception | None:
        """Asks for the end of jobs not ``asked`` yet; gives the last refusal of the service."""
        refused = None
        for attempt in left:
            if attempt.job is None or attempt.job.name in asked:
                continue
            job_type = JOB_TYPES[attempt.type]
            try:
                client = self.backend_of(attempt).client(job_type.service)
                job_type.request_stop(client, attempt.job.name)
                asked.add(attempt.job.name)
                self.records.save(replace(attempt, phase="stopping"))
            except Exception as error:  # noqa: BLE001 - given, and asked for again
                refused = error
        return refused

    def _write_end(self, status: str, reason: str, *, keep_stopped: bool = False) -> None:
        """An end that an engine reported stays, unless somebody knows better why it stopped."""
        there = self.records.end(self.execution)
        known = there is not None and there["reason"] != INTERRUPTED
        if there is not None and known and (keep_stopped or there["status"] != "Stopped"):
            return
        steps = {one.step: one.state for one in self.records.current(self.execution)}
        body = {"status": status, "reason": reason, "ended": now(), "steps": steps}
        self.records.objects.put(f"{self.execution}/end.json", body)


def _was_given_up(end: End) -> bool:
    """Whether an attempt ended before its job was known to have."""
    return end.failure is not None and end.failure.kind in _BEFORE_ITS_JOB


def _raise_verdict(refused: Exception | None) -> None:
    """Raises what is no outage: asking again would not help."""
    if refused is not None and not is_outage(refused):
        raise refused


def _pauses() -> Iterator[float]:
    pause = _PAUSE
    while True:
        yield pause
        pause = min(pause * 1.3, _LONGEST_PAUSE)


def steps_of(ending: Ending) -> dict[str, Attempt]:
    """The attempt that counts of each step, as its job is by now."""
    return by_step(map(ending.refreshed, ending.records.current(ending.execution)))
