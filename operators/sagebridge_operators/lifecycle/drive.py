"""Runs one step to its end in a worker, the same under every engine and backend.

Jobs go through :mod:`~.advance`; Condition steps, Fail steps and user code run here. If the service
or the records do not answer, the worker waits: an outage says nothing about the step.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, overload

from sagebridge.authoring.runnable import why_not_runnable
from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.pipeline import ConditionStep
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle import advance, cleanup_step, condition_step, opening
from sagebridge_operators.lifecycle.answers import client_of
from sagebridge_operators.lifecycle.attempt import Attempt, Failure
from sagebridge_operators.lifecycle.job_report import JobReport
from sagebridge_operators.lifecycle.job_request import JobRequests, resolver
from sagebridge_operators.lifecycle.outages import (
    code_of,
    growing_pauses,
    is_expired,
    is_outage,
    is_rejected,
)
from sagebridge_operators.lifecycle.outputs import check_size
from sagebridge_operators.lifecycle.ports import Ports, send_stop
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.lifecycle.user_code import code_step
from sagebridge_operators.lifecycle.watch import Watch, next_look, record_next_look
from sagebridge_operators.run_errors import (
    ERROR_OF_STATE,
    ExecutionRecordsError,
    ExecutionStopped,
    FailureKind,
    NotRunnable,
    RecordsUnreachable,
    StepFailed,
    StepStopped,
    StepTimeout,
)
from sagebridge_operators.steps import JOB_TYPES

PATIENCE = 120.0
"""Seconds for which a step without a job waits out an outage of the service or the records."""
_PATIENCE_WHEN_KILLED = 10.0
_PATIENCE_WITH_RECORDS = 600.0
_SLICE = 0.2
"""Seconds between two looks at the kill flag."""
_BUSY = 2.0
"""Seconds after which a kill no longer waits for a call to the service to return."""
_IN_WORKER = {"Cleanup": cleanup_step.run}
"""The types without a job whose calls a worker makes itself, and may repeat."""
T = TypeVar("T")


@dataclass(slots=True)
class StepDriver:
    """Runs a step to its end. Holds the only flag for a kill of its worker."""

    task: StepTask
    log: Log = field(default_factory=lambda: logging.getLogger(__name__))
    attempt: Attempt | None = None
    _defer: bool = False
    _killed: bool = False
    _call_started: float | None = None
    _deadline: float = math.inf
    _report: JobReport = field(init=False)
    _missing_since: float | None = None
    _described: bool = False
    _requests: JobRequests | None = None

    def __post_init__(self) -> None:
        self._report = JobReport(self.task, self.log)

    @overload
    def run(self) -> dict[str, Any]: ...

    @overload
    def run(self, *, defer: bool) -> dict[str, Any] | Watch: ...

    def run(self, *, defer: bool = False) -> dict[str, Any] | Watch:
        """Runs the step and returns its outputs as JSON values.

        With ``defer`` it returns a :class:`Watch` as soon as there is nothing to do but look at the
        job. When that ends, a driver whose task ``resumes`` goes on.

        Raises a SagebridgeError, usually :class:`StepFailed`, if the step ended without success.
        After any other exception, and after RecordsUnreachable, the engine may try again: the next
        try finds the job.
        """
        task, wanted = self.task, self._new_attempt()
        self._defer, self._deadline = defer, time.monotonic() + (task.time_limit or math.inf)
        self._report.log = self.log  # Prefect's logger exists only inside the task
        again = self.attempt is not None and not self.attempt.running
        with task.records.attend(wanted) as lock:
            self.attempt, resumed = self._retry_outages(
                lambda: opening.choose_attempt(task.records, wanted, resumes=task.resumes)
            )
            found = self.attempt
            try:
                policies = task.step.type in JOB_TYPES and bool(task.step.retry_policies)
                if found.end is None or (found.state == "Failed" and policies):
                    self.attempt = self._run_step(found, lock, resumed=resumed)
                earlier = found.engine_try < wanted.engine_try and not task.resumes
                if self.attempt == found and (again or earlier) and self._retry() is not None:
                    self.attempt = opening.next_try(wanted, found)
                    self.log.info("try %s of %s", self.attempt.tries + 1, task.user_retries + 1)
                    self.attempt = self._run_step(self.attempt, lock, resumed=False)
                return Watch.of(self.attempt) or self._result(self.attempt)
            except RecordsUnreachable:  # says nothing about the step
                raise
            except SagebridgeError as refused:
                self._record_failure(refused)
                if isinstance(refused, StepFailed):
                    refused.retry = self._retry()
                raise

    def _retry(self) -> tuple[int, int] | None:
        """The failed try and the number of tries, if a user retry may follow."""
        attempt, retries = self.attempt, self.task.user_retries
        assert attempt is not None
        retried = opening.is_retried(attempt, retries) and not self._stop_requested()
        return (attempt.tries + 1, retries + 1) if retried else None

    def _new_attempt(self) -> Attempt:
        task = self.task
        return opening.first_attempt(
            task.execution.id,
            task.step.name,
            task.step.type,
            generation=task.generation,
            index=task.index,
            engine_try=task.engine_try,
            settings=task.settings,
        )

    @property
    def _defers(self) -> bool:
        return self._defer and not self._killed

    @property
    def killed(self) -> bool:
        return self._killed

    @killed.setter
    def killed(self, killed: bool) -> None:
        if killed and not self._killed:
            self._killed = True
            # A call to the service may block for longer than the engine waits before SIGKILL:
            # Airflow waits 5 s (kill() in airflow/sdk/execution_time/supervisor.py).
            threading.Thread(
                target=self._stop_in_background, daemon=True, name="sagebridge-kill"
            ).start()

    @property
    def reason(self) -> str:
        """Why the attempt failed or was stopped; empty while it runs or after a success."""
        return self.attempt.reason if self.attempt is not None else ""

    def give_up(self, error: Exception) -> None:
        """Records an error after which the engine does not try again, and stops the job."""
        attempt = self.attempt
        if attempt is None:  # this worker never read the record
            with suppress(Exception):
                attempt, _ = opening.choose_attempt(self.task.records, self._new_attempt())
        if attempt is None or attempt.end is not None:
            return
        text = f"{type(error).__name__}: {error}{self._send_stop(attempt)}"
        self._save(attempt.with_failure("service", text, code_of(error)))

    def _run_step(self, attempt: Attempt, lock: int | None, *, resumed: bool) -> Attempt:
        step = self.task.step
        if (what := why_not_runnable(step)) is not None:
            raise NotRunnable(what)
        if step.type in JOB_TYPES:
            return self._run_job(attempt, resumed=resumed)
        attempt = self._save(attempt)
        self._raise_if_stopped()
        if isinstance(step, ConditionStep):
            outputs = self._retry_outages(
                lambda: condition_step.run(step, self.task, resolver(self.task), self.log)
            )
        elif (run := _IN_WORKER.get(step.type)) is not None:
            outputs = self._retry_outages(lambda: run(self.task, resolver(self.task), self.log))
        elif isinstance(step, CarriedStep):
            outputs = self._run_code(step, attempt, lock)
        else:
            arguments = {} if step.arguments is ABSENT else step.arguments
            message = self._retry_outages(
                lambda: resolver(self.task)(arguments.get("ErrorMessage", ""))
            )
            raise StepFailed(str(message), kind="fail-step")
        check_size(step.name, outputs)
        return self._save(attempt.with_end("Succeeded", outputs=outputs))

    def _result(self, attempt: Attempt) -> dict[str, Any]:
        """The outputs of an ended attempt. Raises StepFailed or StepStopped if it has none."""
        end = attempt.end
        assert end is not None
        if end.state == "Succeeded":
            cached = {"cached_from": attempt.cached_from} if attempt.cached_from else {}
            return {**(end.outputs or {}), **cached}
        failure = end.failure
        text, kind, code = (failure.text, failure.kind, failure.code) if failure else ("", None, "")
        raise ERROR_OF_STATE.get(end.state, StepFailed)(text, kind=kind, code=code)

    def _record_failure(self, refused: SagebridgeError) -> None:
        attempt = self.attempt
        if attempt is None or attempt.end is not None:
            return
        if isinstance(refused, StepFailed):
            failure = Failure(refused.kind, str(refused), refused.code)
            ended = attempt.with_end(refused.state, failure, refused.outputs)
        else:  # such as unwritable records, which would leave the job running
            text = f"{refused}{self._send_stop(attempt)}"
            ended = attempt.with_failure("service", text, type(refused).__name__)
        with suppress(ExecutionRecordsError):  # the caller raises the same failure
            self._save(ended)

    def _send_stop(self, attempt: Attempt) -> str:
        """Sends a stop to the job of an attempt; returns the result as the tail of a message."""
        if not attempt.parts:
            return ""
        with suppress(Exception):  # otherwise the message reports what may run
            attempt = advance.recalled(attempt, self._ports())
        return send_stop(attempt, self._client)

    # Jobs

    def _run_job(self, attempt: Attempt, *, resumed: bool) -> Attempt:
        ports = self._ports(first_call=not self.task.resumes)
        try:
            if not attempt.parts and attempt.phase == "planned":
                self._raise_if_stopped()
                attempt = self.attempt = self._retry_outages(lambda: advance.plan(attempt, ports))
            return self._advance_to_end(attempt, ports, resumed=resumed)
        except Exception:
            raise
        # Airflow's time limit is a BaseException: AirflowTaskTimeout in airflow/sdk/exceptions.py.
        except BaseException as limit:
            if (ended := self.interrupt(limit)) is not None:
                return ended
            raise

    def _advance_to_end(self, attempt: Attempt, ports: Ports, *, resumed: bool) -> Attempt:
        """Advances the attempt until nothing follows its end or it is deferred.

        Waits through outages and kills.
        """
        announced = ""
        pauses, outage = growing_pauses(self.task.backend.poll_seconds), None
        while True:
            before = attempt
            if time.monotonic() > self._deadline:
                raise StepTimeout(f"{self.task.time_limit:g} s")
            try:
                attempt = self.attempt = self._advance_once(attempt, ports)
            except Exception as error:  # noqa: BLE001 - raised again unless it is an outage
                outage = outage or datetime.now(UTC)
                attempt = self.attempt = self._wait_out(attempt, error, outage)
            else:
                outage, ports = None, replace(ports, first_call=False)
                if attempt.end is not None and before.end is not None:
                    return attempt
                if attempt.job is not None and attempt.job.name != announced:
                    announced = attempt.job.name
                    self._announce(attempt, resumed=resumed)
                if attempt.state == "Failed" and before.job is not None:
                    # CloudWatch receives the last lines, which name the error, seconds late.
                    self._sleep(self.task.backend.poll_seconds[0])
                    self._report.show_rest(attempt)
                if self._defers and Watch.of(attempt) is not None:
                    return attempt
            if attempt.number != before.number:
                resumed = False
                self._missing_since = None
            if (attempt.number, attempt.phase) != (before.number, before.phase):
                pauses = growing_pauses(self.task.backend.poll_seconds)
            elif attempt.phase in ("waiting", "planned") and attempt.next_look and outage is None:
                # Not longer than until the next look at the stop request.
                left = datetime.fromisoformat(attempt.next_look) - datetime.now(UTC)
                self._sleep(min(left.total_seconds(), self.task.backend.poll_seconds[0]))
            else:
                self._sleep(next(pauses))

    def _advance_once(self, attempt: Attempt, ports: Ports) -> Attempt:
        """Makes one call: a stop if this worker is being killed, otherwise the next one due."""
        attempt = self._report.with_position(attempt)
        self._call_started = time.monotonic()
        if self._killed and attempt.phase == "created":
            self.log.info("stopping %s %s", attempt.type, attempt.parts[-1].shown)
            stopped = advance.stop(attempt, ports)
        else:
            stopped = advance.advance(attempt, ports)
        self._call_started = None
        return record_next_look(stopped, self.task.records, defer=self._defers)

    def _wait_out(self, attempt: Attempt, error: Exception, since: datetime) -> Attempt:
        """Waits out an outage; returns the attempt. Raises any other error.

        A look that is rejected counts as an outage if an earlier one found the job: permissions
        that change do not end it.
        """
        self._call_started = None
        known = self._described or (attempt.job is not None and attempt.job.arn is not None)
        seen = known and attempt.job is not None and not self._killed
        if not is_outage(error) and not (seen and is_rejected(error)):
            raise error
        waited = (datetime.now(UTC) - since).total_seconds()
        self.log.warning("a call for this %s step failed (%s); trying again", attempt.type, error)
        if is_expired(error):
            with suppress(Exception):  # there may be no new ones yet
                self.task.backend.renew()
        limit = math.inf
        if isinstance(error, RecordsUnreachable):  # the end of a job could not be recorded
            limit = _PATIENCE_WITH_RECORDS
        if waited > (PATIENCE if attempt.phase in ("waiting", "planned") else limit):
            raise error
        if attempt.end is not None or not attempt.overdue:
            return attempt
        name = attempt.parts[-1].shown
        text = (
            f"{attempt.type} job {name} has passed its maximum run time, and its status is unknown "
            f"since {since:%Y-%m-%d %H:%M:%S} UTC ({error}){self._send_stop(attempt)}"
        )
        return self._save(attempt.with_failure("service", text, code_of(error)))

    def _ports(self, *, first_call: bool = False) -> Ports:
        task = self.task

        requests = self._requests = self._requests or JobRequests(task, self.log)
        return Ports(
            records=task.records,
            job_type=JOB_TYPES[task.step.type],
            client=lambda fresh: self._client(fresh=fresh),
            request=requests.request,
            outputs=requests.outputs,
            handle=requests.handle,
            stop_requested=self._stop_requested,
            on_description=self._on_description,
            missing_for=self._missing_for,
            prefix=requests.prefix,
            first_call=first_call,
            next_look=lambda one: next_look(one, task.records, defer=self._defers),
            policies=task.step.retry_policies or (),
            cache=requests.cache(),
            on_hit=requests.announce_hit,
            on_unrecorded=self._report.warn_unrecorded,
            on_repeat=self._report.warn_repeat,
            on_left=lambda message: self.log.warning("%s", message),
            on_retry=lambda attempt, retry: self.log.warning("%s", retry.message(attempt)),
        )

    def _missing_for(self, found: bool) -> timedelta:
        """For how long this worker has not found the job, whose description may lag behind."""
        present = time.monotonic()
        since = present if self._missing_since is None else self._missing_since
        self._missing_since = None if found else since
        return timedelta(seconds=present - since)

    def _client(self, *, fresh: bool = False) -> Any:
        if fresh:
            self.task.backend.renew()
        task = self.task
        return client_of(JOB_TYPES[task.step.type], task.backend, task.records)

    def _on_description(self, attempt: Attempt, found: Mapping[str, Any]) -> None:
        self.task.records.beat(attempt)
        self._described = True
        job_type, name = JOB_TYPES[attempt.type], attempt.parts[-1].shown
        self._report.show(attempt, found)
        status = job_type.status(found)
        if not job_type.knows_status(status) and attempt.overdue:
            raise StepFailed(
                f"{attempt.type} job {name} has passed its maximum run time with the unknown "
                f"status {status}{self._send_stop(attempt)}",
                kind="service",
            )

    def _announce(self, attempt: Attempt, *, resumed: bool) -> None:
        name = attempt.parts[-1].shown
        if resumed and not self.task.resumes:
            self.log.info(
                "found %s %s of an earlier worker; not starting another", attempt.type, name
            )
        if resumed and self._requests is not None:
            self._requests.show(attempt)
        self.task.on_job(attempt.parts[-1].as_job())

    # Code

    def _run_code(self, step: CarriedStep, attempt: Attempt, lock: int | None) -> dict[str, Any]:
        task = self.task
        asked = code_step.StopCheck(
            lambda: self._killed,
            lambda: task.records.stop_requested(task.execution.id),
            task.backend.poll_seconds[0],
        )
        line = partial(self.log.info, "[%s] %s", step.name)
        try:
            outputs = code_step.run(step, task, attempt, asked, line, lock)
        except Exception:
            raise
        except BaseException as limit:  # as in _run_job
            self.interrupt(limit)
            raise
        return {"step": step.name, "type": step.type, **outputs}

    # Stops, records and waiting

    def _stop_requested(self) -> bool:
        return self._killed or self.task.records.stop_requested(self.task.execution.id)

    def _raise_if_stopped(self) -> None:
        """Raises ExecutionStopped if a stop was requested."""
        task = self.task
        if self._retry_outages(lambda: task.records.stop_requested(task.execution.id)):
            raise ExecutionStopped

    def interrupt(self, limit: BaseException) -> Attempt | None:
        """Stops the job of a step that its engine interrupts, and records the reason.

        Returns the attempt if it had already succeeded. Raises StepStopped for a time limit, which
        the engine would otherwise retry like a lost worker.
        """
        attempt = self.attempt
        if attempt is None or attempt.end is not None or attempt.phase == "stopping":
            return None
        sent = self._send_stop(attempt)
        what = f"{type(limit).__name__}: {limit}".rstrip(": ")
        timed_out = "timeout" in type(limit).__name__.lower()
        why = "stopped by the task's time limit" if timed_out else "interrupted"
        text = f"{why} ({what})"
        kind: FailureKind = "time-limit" if timed_out else "stopped"
        if "could not" in sent:
            text += sent
            kind = "service" if timed_out else kind  # not retried, as the job may still run
        saved = self._save(attempt.with_failure(kind, text, state="Stopped"))
        if saved.state == "Succeeded":
            return saved
        if timed_out:
            raise StepStopped(text, kind=kind) from limit
        return None

    def _stop_in_background(self) -> None:
        """Stops the job while the driver's own thread is blocked in a call to the service.

        That call may be the create request, so this looks for the job until the call returns.
        """
        while (began := self._call_started) is not None:
            attempt = self.attempt
            if attempt is None or attempt.phase not in ("planned", "created"):
                return
            if time.monotonic() > began + _BUSY and attempt.parts:
                with suppress(Exception):
                    ports = self._ports()
                    if ports.find(attempt.parts[-1].name) is not None:
                        advance.stop(attempt, ports)
                        return
            time.sleep(_SLICE)

    def _save(self, attempt: Attempt) -> Attempt:
        saved = self._retry_outages(lambda: self.task.records.save(attempt))
        self.attempt = saved
        return saved

    def _retry_outages(self, call: Callable[[], T]) -> T:
        """The result of ``call``, which is repeated during an outage."""
        began = time.monotonic()
        for pause in growing_pauses(self.task.backend.poll_seconds):
            try:
                return call()
            except Exception as error:
                patience = _PATIENCE_WHEN_KILLED if self._killed else PATIENCE
                if not is_outage(error) or time.monotonic() - began > patience:
                    raise
                self.log.warning("a call failed (%s); trying again", error)
                if is_expired(error):
                    self.task.backend.renew()
            self._sleep(pause)
        raise AssertionError("unreachable")

    def _sleep(self, seconds: float) -> None:
        """Sleeps in slices, so that a kill ends the sleep."""
        until, killed = time.monotonic() + seconds, self._killed
        while (left := until - time.monotonic()) > 0 and self._killed == killed:
            time.sleep(min(left, _SLICE))
