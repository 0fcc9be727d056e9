"""Ends an execution: stops its jobs, marks its steps, writes its end.

Ctrl-C, a killed command, ``executions stop``, a cancelled run and a crashed engine all use the same
order:

1. No further step starts.
2. Jobs are stopped while the workers can still record it.
3. The workers end.
4. Remaining jobs are stopped, and their attempts are marked.
5. The end is written. No other module writes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.answers import client_of
from sagebridge_operators.lifecycle.attempt import Attempt, now
from sagebridge_operators.lifecycle.attempt_job import Description, verdict_of
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.opening import first_attempt
from sagebridge_operators.lifecycle.outages import is_outage
from sagebridge_operators.lifecycle.outputs import job_outputs, references_to
from sagebridge_operators.lifecycle.ports import lost_answer
from sagebridge_operators.lifecycle.recorded_pipeline import recorded_pipeline
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.lifecycle.step_states import Status, final_status
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
from sagebridge_operators.lifecycle.user_code.step_context import stored
from sagebridge_operators.run_errors import FailureKind, FinalState, JobsNotStopped
from sagebridge_operators.steps import JOB_TYPES

PATIENCE = 60.0
"""Seconds to wait for stopped jobs to end; local jobs are killed after 30."""
INTERRUPTED = "the flow run was interrupted"
"""The reason that a flow's own process records; a caller with a better reason overwrites it."""

_WORKER_ANSWERS = 15.0
"""Seconds in which a live worker reacts to a stop request."""
_PAUSE, _LONGEST_PAUSE = 0.3, 5.0


@dataclass(frozen=True)
class Ending:
    """Ends one execution, or stops some of its attempts.

    ``backend_of`` returns the backend that runs the job of an attempt.
    """

    records: ExecutionRecords
    execution: str
    backend_of: Callable[[Attempt], Backend]

    def stop(self, patience: float = PATIENCE, *, code: bool = False) -> list[str]:
        """Stops all steps and waits; returns the names of steps that have not ended by then.

        Args:
            patience: how long to wait, in seconds.
            code: also wait for user code in workers; for callers that do not end the workers.

        Raises the service's error if it rejects a stop, or JobsNotStopped if it rejects several;
        the other jobs are stopped first.
        """
        self.records.request_stop(self.execution)
        stops = _Stops(self)
        began = time.monotonic()
        for pause in _pauses():
            left = self.mark_lost("a stop was requested after its worker was lost")
            stops.request(left)
            left = [one for one in left if not stops.rejected(one)]
            known = [
                one.name
                for one in left
                if one.job or one.called or (code and one.type in CODE_TYPES)
            ]
            waited = time.monotonic() - began
            # Any other step is about to make a job, or its worker is gone.
            if waited > patience or not (left if waited < _WORKER_ANSWERS else known):
                break
            time.sleep(pause)
        stops.raise_errors()
        return list(dict.fromkeys(known))

    def stop_jobs(self) -> None:
        """Asks the service to stop every running job; raises its errors after that."""
        stops = _Stops(self)
        stops.request(self.running())
        stops.raise_errors()

    def abort(
        self,
        status: FinalState,
        reason: str,
        *,
        end_workers: Callable[[], object] = lambda: None,
        workers: bool,
        keep_stopped: bool = False,
    ) -> None:
        """Ends a running execution.

        Args:
            status: the final status.
            reason: why it ended; shown to users.
            end_workers: ends the workers; called even if the service fails.
            workers: whether workers are left to record the ends of their jobs.
            keep_stopped: keep the reason of a stop that is already recorded.
        """
        with ExitStack() as order:  # runs the last callback first, and all of them despite errors
            order.callback(self._write_end, status, reason, keep_stopped=keep_stopped)
            order.callback(self.settle, status, reason)
            # A worker may have created a job just before it ended.
            order.callback(self.stop_jobs if workers else self.stop)
            order.callback(end_workers)
            if workers:
                self.stop()

    def conclude(self, pipeline: Pipeline, early: str = "", title: str = "its engine") -> Status:
        """Writes the end that follows from the steps, after the engine's run has ended.

        An end that is already recorded is kept and returned.

        ``early`` is the reason why the run ended before its steps, if known; ``title`` is the name
        of the engine for messages.
        """
        if (end := self.records.end(self.execution)) is not None:
            return Status(end["status"], end.get("reason") or "")
        found = final_status(
            pipeline,
            self.records.steps(self.execution),
            stop_requested=self.records.stop_requested(self.execution),
        )
        if early or found.status == "Executing":
            found = Status("Failed", early or f"the run ended in {title} before its steps did")
        self._write_end(found.status, found.reason)
        return found

    def record_interruption(self, status: FinalState, reason: str) -> None:
        """Writes the end of a flow whose process was interrupted and has stopped its steps."""
        self._write_end(status, reason)

    def stop_attempts(
        self, attempts: Iterable[Attempt], reason: str, patience: float = PATIENCE
    ) -> dict[str, Exception | None]:
        """Stops attempts and waits; returns the jobs that have not ended by then.

        If the service rejects a stop, the name of the job is returned with the error. The
        execution continues: a step that its engine starts again gets a new job. ``reason`` is
        recorded for attempts without a job.
        """
        stops = _Stops(self)
        until = time.monotonic() + patience
        left = []
        for one in attempts:
            stoppable = one.job is not None and not JOB_TYPES[one.type].left_by_stop(one.job.name)
            if stoppable:
                left.append(one)
            elif one.job is None or self._may_still_run(one):
                self.records.save(one.with_failure("lost-worker", reason, state="Stopped"))
        for pause in _pauses():
            left = [one for one in left if self._may_still_run(one)]
            stops.request(left)
            if all(map(stops.rejected, left)) or time.monotonic() > until:
                break
            time.sleep(pause)
        return {one.parts[-1].name: stops.errors.get(one.parts[-1].name) for one in left}

    def _may_still_run(self, attempt: Attempt) -> bool:
        """Whether the job may still run. Records its end if it does not."""
        found, _ = self._refresh_if_possible(attempt)
        if not found.running:
            self._save_end(found)
        return found.running

    def settle(self, status: FinalState, reason: str) -> None:
        """Ends the running attempts: as their jobs ended, otherwise with ``status``.

        Call it only when no worker is left.
        """
        for attempt in self.running():
            kind: FailureKind = "stopped" if status == "Stopped" else "lost-worker"
            text = f"{reason}{lost_answer(attempt)}"
            self.records.save(attempt.with_failure(kind, text, state=status))

    def mark_lost(self, reason: str, *, no_worker: bool = False) -> list[Attempt]:
        """Ends attempts without a job that wait for a retry, or whose worker is known to be lost.

        Returns the attempts that still run. With ``no_worker`` all workers count as lost. Call it
        only if no attempt can start again: a stop was requested, or the engine is gone.
        """
        left = []
        for attempt, known in self._looked():
            lost = no_worker or self.records.attended(attempt) is False
            # No worker needs to be at a step that waits for its next try, and a late writer loses.
            if attempt.job is None and known and (lost or attempt.phase == "waiting"):
                self._stop_undescribed(attempt)
                text = f"{reason}{lost_answer(attempt)}"
                self.records.save(attempt.with_failure("stopped", text, state="Stopped"))
            else:
                left.append(attempt)
        return left

    def _stop_undescribed(self, attempt: Attempt) -> None:
        """Stops a job whose create request was carried out although Describe does not find it."""
        if attempt.parts:
            job_type = JOB_TYPES[attempt.type]
            with suppress(Exception):  # usually there is no such job
                job_type.request_stop(self.client_of(attempt), attempt.parts[-1].name)

    def mark_failed(
        self,
        step: str,
        type_: str,
        reason: str,
        *,
        index: tuple[int, ...] = (),
        started: str,
        ended: str,
    ) -> None:
        """Ends the attempt of a step and index whose worker was lost and is not replaced."""
        known = self.records.current(self.execution)
        found = next((one for one in known if (one.step, one.index) == (step, index)), None)
        retry = Retry.of(self.records.execution(self.execution))
        generation, engine_try = retry.count((), 0, int(retry.number > 0), again=True)
        first = first_attempt(
            self.execution, step, type_, generation=generation, index=index, engine_try=engine_try
        )
        attempt = found or replace(first, started=started)
        failed = attempt.with_failure("lost-worker", reason)
        assert failed.end is not None
        self.records.save(replace(failed, end=replace(failed.end, at=ended)))

    def current(self) -> list[Attempt]:
        """The latest attempt of each step and index, with the current state of its job."""
        return [self.refresh(one) for one in self.records.current(self.execution)]

    def running(self) -> list[Attempt]:
        """The attempts that have not ended. Records ends of jobs that no worker recorded."""
        return [attempt for attempt, _ in self._looked()]

    def _looked(self) -> Iterator[tuple[Attempt, bool]]:
        """The running attempts, and whether the service answered."""
        # Not only the latest ones: a cleared step may have been stopped before it began again.
        running = [one for one in self.records.attempts(self.execution) if one.running]
        for attempt in running:
            found, known = self._refresh_if_possible(attempt)
            if found != attempt and not found.running:
                found = self._save_end(found)
            if found.running:
                yield found, known

    def _save_end(self, ended: Attempt) -> Attempt:
        """Records the end of a job that no worker recorded, and cleans up what it left."""
        job_type = JOB_TYPES[ended.type]
        with suppress(Exception):  # the end counts all the same
            name, client = ended.parts[-1].name, self.client_of(ended)
            if (description := job_type.find(client, name)) is not None:
                job_type.clean_up(client, name, description)
        return self.records.save(ended)

    def client_of(self, attempt: Attempt) -> Any:
        """The client of the job of an attempt."""
        return client_of(JOB_TYPES[attempt.type], self.backend_of(attempt), self.records)

    def _refresh_if_possible(self, attempt: Attempt) -> tuple[Attempt, bool]:
        """As :meth:`refresh`, or unchanged and False if the service does not answer or refuses.

        One job that cannot be described must not keep the others from being stopped.
        """
        try:
            return self.refresh(attempt), True
        except Exception:  # noqa: BLE001 - a stop of this job meets the same error
            return attempt, False

    def job_runs(self, attempt: Attempt) -> bool:
        """Whether the job of an attempt runs, whatever its record says."""
        job_type = JOB_TYPES[attempt.type]
        found = job_type.find(self.client_of(attempt), attempt.parts[-1].name)
        runs = found is not None and job_type.state(found) == "Executing"
        return runs and not job_type.left_by_stop(attempt.parts[-1].name)

    def refresh(self, attempt: Attempt) -> Attempt:
        """The attempt with the current state of its job. Does not write the record.

        Also finds a job whose creation was not recorded, since its name is recorded before.
        """
        job_type = JOB_TYPES.get(attempt.type)
        if not attempt.running or job_type is None or not attempt.parts:
            return attempt
        part = attempt.parts[-1]
        description = job_type.find(self.client_of(attempt), part.name)
        if description is None:
            return attempt
        part = replace(part, arn=description.get(job_type.arn_key))
        phase = "created" if attempt.phase == "planned" else attempt.phase
        found = replace(attempt, phase=phase, parts=(part,))
        return verdict_of(found, job_type, description, self._outputs)

    def _outputs(self, attempt: Attempt, description: Description) -> dict[str, Any]:
        step, job_type = self._pipeline.step(attempt.step), JOB_TYPES[attempt.type]
        references = references_to(attempt.step, self._pipeline.steps)
        backend = self.backend_of(attempt)
        description = job_type.judge(description, backend)
        return job_outputs(
            attempt,
            job_type,
            description,
            step,
            references,
            lambda: job_type.client(backend),
            lambda value: stored(self.records, attempt, RETURN_VALUE, value),
        )

    @cached_property
    def _pipeline(self) -> Pipeline:
        return recorded_pipeline(self.records, self.execution)

    def _write_end(self, status: str, reason: str, *, keep_stopped: bool = False) -> None:
        """Writes the end. Overwrites a recorded end only if that is an interruption or a stop."""
        there = self.records.end(self.execution)
        known = there is not None and there["reason"] != INTERRUPTED
        if there is not None and known and (keep_stopped or there["status"] != "Stopped"):
            return
        steps = {one.step: one.state for one in self.records.current(self.execution)}
        body = {"status": status, "reason": reason, "ended": now(), "steps": steps}
        self.records.objects.put(f"{self.execution}/end.json", body)


@dataclass(slots=True)
class _Stops:
    """The stops that were sent, and the errors of the others."""

    ending: Ending
    _sent: set[str] = field(default_factory=set)
    errors: dict[str, Exception] = field(default_factory=dict)

    def request(self, attempts: Iterable[Attempt]) -> None:
        """Asks the service to stop the jobs that were not asked yet, or during an outage."""
        for attempt in attempts:
            if attempt.job is None or attempt.job.name in self._sent or self.rejected(attempt):
                continue
            job_type, name = JOB_TYPES[attempt.type], attempt.job.name
            self.errors.pop(name, None)
            if left := job_type.left_by_stop(name):
                ended = attempt.with_failure("stopped", left, state="Stopped")
                self.ending.records.save(ended)
                continue
            try:
                job_type.request_stop(self.ending.client_of(attempt), name)
                self._sent.add(name)
                self.ending.records.save(replace(attempt, phase="stopping"))
            except Exception as error:  # noqa: BLE001 - raised after the requests for the others
                self.errors[name] = error

    def rejected(self, attempt: Attempt) -> bool:
        """Whether asking again would not help."""
        error = self.errors.get(attempt.job.name) if attempt.job else None
        return error is not None and not is_outage(error)

    def raise_errors(self) -> None:
        errors = list(self.errors.items())
        if len(errors) > 1:
            raise JobsNotStopped([f"{name}: {error}" for name, error in errors])
        for _, error in errors:
            raise error


def _pauses() -> Iterator[float]:
    pause = _PAUSE
    while True:
        yield pause
        pause = min(pause * 1.3, _LONGEST_PAUSE)
