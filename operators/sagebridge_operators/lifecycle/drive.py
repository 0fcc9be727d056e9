"""Drives one step to its end in a worker, the same under every engine and backend.

Jobs go through :mod:`~.advance`; Condition and Fail steps and users' code run here. A service or
records that do not answer are waited for: they are no verdict on the step.
"""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep
from sagebridge.model.expressions import Get
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle import advance as steps
from sagebridge_operators.lifecycle import opening
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.masking import masked
from sagebridge_operators.lifecycle.outages import code_of, is_expired, is_outage
from sagebridge_operators.lifecycle.outputs import check_size, job_outputs, outputs_of
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.resolve import Resolver, Upstream
from sagebridge_operators.lifecycle.user_code import code_step
from sagebridge_operators.run_errors import (
    ExecutionRecordsError,
    ExecutionStopped,
    FailureKind,
    NotRunnable,
    RecordsUnreachable,
    StepFailed,
    StepStopped,
)
from sagebridge_operators.steps import JOB_TYPES, why_not_runnable
from sagebridge_operators.steps.condition import all_hold

PATIENCE = 120.0
"""Seconds for which a step without a job waits for a service or records that do not answer."""
_PATIENCE_OF_A_KILLED_WORKER = 10.0
_PATIENCE_WITH_RECORDS = 600.0
_SLICE = 0.2
_BUSY = 2.0
"""Seconds after which a kill no longer waits for a call of the service to return."""
T = TypeVar("T")


class Log(Protocol):
    """A standard logger, or an engine's that takes the same calls."""

    def info(self, event: str, /, *args: Any) -> Any: ...

    def warning(self, event: str, /, *args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class StepTask:
    """One step as its engine hands it over.

    Args:
        references: all that the pipeline makes to the step.
        function: what a step of carried Python calls.
        generation: grows when a person asks for the step again, not when a worker is lost.
        index: the indexes of a mapped task.
        engine_try: which try of the engine this is; it only grows.
        role: the role of a job whose arguments name none.
        on_request: is shown the request, secrets masked; ``on_job`` the job once it exists.
    """

    step: Step
    execution: Execution
    backend: Backend
    records: ExecutionRecords
    upstream: Upstream
    function: Callable[..., Any] | None = None
    references: Sequence[Get] = ()
    generation: int = 0
    index: tuple[int, ...] = ()
    engine_try: int = 0
    role: str | None = None
    on_request: Callable[[Mapping[str, Any]], None] = lambda request: None
    on_job: Callable[[Mapping[str, Any]], None] = lambda job: None


@dataclass(slots=True)
class StepDriver:
    """Drives a step; it alone knows whether its worker is being killed."""

    task: StepTask
    log: Log = field(default_factory=lambda: logging.getLogger(__name__))
    attempt: Attempt | None = None
    _killed: bool = False
    _at_work: float | None = None
    _status: str = ""
    _position: int = 0
    _missing_since: float | None = None
    _requests: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """The step's outputs (JSON). Raises a SagebridgeError, mostly :class:`StepFailed`.

        Any other exception is no verdict on the step: the engine may try again, and finds the job.
        """
        task, wanted = self.task, self._wanted()
        with task.records.attend(wanted) as held:
            self.attempt, resumed = self._patiently(lambda: opening.decide(task.records, wanted))
            if self.attempt.end is None:
                try:
                    self.attempt = self._ended(self.attempt, held, resumed=resumed)
                except RecordsUnreachable:  # nothing is known to be wrong with the step
                    raise
                except SagebridgeError as refused:
                    self._fail(refused)
                    raise
            return self._result(self.attempt)

    def _wanted(self) -> Attempt:
        task = self.task
        return opening.first_attempt(
            task.execution.id,
            task.step.name,
            task.step.type,
            generation=task.generation,
            index=task.index,
            engine_try=task.engine_try,
        )

    @property
    def killed(self) -> bool:
        return self._killed

    @killed.setter
    def killed(self, killed: bool) -> None:
        if killed and not self._killed:
            self._killed = True
            # A call of the service may block for longer than an engine waits before SIGKILL.
            threading.Thread(target=self._stop_behind, daemon=True, name="sagebridge-kill").start()

    @property
    def reason(self) -> str:
        """Why the attempt failed or was stopped; empty while it runs or after a success."""
        return self.attempt.reason if self.attempt is not None else ""

    def give_up(self, error: Exception) -> None:
        """Records an error after which the engine does not try again, and stops the job."""
        attempt = self.attempt
        if attempt is None:  # its worker never came to know what is recorded
            with suppress(Exception):
                attempt, _ = opening.decide(self.task.records, self._wanted())
        if attempt is None or attempt.end is not None:
            return
        text = f"{type(error).__name__}: {error}{self._send_stop(attempt)}"
        self._save(attempt.failing("service", text, code_of(error)))

    def _ended(self, attempt: Attempt, held: int | None, *, resumed: bool) -> Attempt:
        step = self.task.step
        if step.retry_policies:
            self.log.warning("retry policies of %s are kept but not applied yet", step.name)
        if step.cache_config:
            self.log.warning("caching of %s is kept but not applied yet", step.name)
        if (what := why_not_runnable(step)) is not None:
            raise NotRunnable(what)
        if step.type in JOB_TYPES:
            return self._job(attempt, resumed=resumed)
        attempt = self._save(attempt)
        self._refuse_if_stopped()
        if isinstance(step, ConditionStep):
            outputs = self._patiently(lambda: self._condition(step))
        elif isinstance(step, CarriedStep):
            outputs = self._code(step, held)
        else:
            arguments = {} if step.arguments is ABSENT else step.arguments
            message = self._patiently(lambda: self._resolver()(arguments.get("ErrorMessage", "")))
            raise StepFailed(str(message), kind="fail-step")
        check_size(step.name, outputs)
        return self._save(attempt.ending("Succeeded", outputs=outputs))

    def _result(self, attempt: Attempt) -> dict[str, Any]:
        """The outputs of an ended attempt. Raises what it ended with."""
        end = attempt.end
        assert end is not None
        if end.state == "Succeeded":
            return dict(end.outputs or {})
        failure = end.failure
        text, kind, code = (failure.text, failure.kind, failure.code) if failure else ("", None, "")
        raise (StepStopped if end.state == "Stopped" else StepFailed)(text, kind=kind, code=code)

    def _fail(self, refused: SagebridgeError) -> None:
        attempt = self.attempt
        if attempt is None or attempt.end is not None:
            return
        if isinstance(refused, StepFailed):
            ended = attempt.failing(refused.kind, str(refused), refused.code, state=refused.state)
        else:  # such as records that cannot be kept: the job would be left running
            text = f"{refused}{self._send_stop(attempt)}"
            ended = attempt.failing("service", text, type(refused).__name__)
        with suppress(ExecutionRecordsError):  # the error that is raised has it already
            self._save(ended)

    def _send_stop(self, attempt: Attempt) -> str:
        """Stops the job of an attempt if the service lets it, and says what became of that."""
        if not attempt.parts:
            return ""
        job_type, name = JOB_TYPES[attempt.type], attempt.parts[-1].name
        if job_type.stop is None:
            return ""
        try:
            job_type.request_stop(self._client(), name)
        except Exception as refused:  # noqa: BLE001 - told, and what led here is raised
            made = "" if attempt.job else "may have been made and "
            return f"; {attempt.type} job {name} {made}could not be stopped ({refused}): look at it"
        return f"; a stop was sent to {attempt.type} job {name}" if attempt.job else ""

    # Jobs

    def _job(self, attempt: Attempt, *, resumed: bool) -> Attempt:
        ports = self._ports(first=True)
        try:
            if not attempt.parts:
                self._refuse_if_stopped()
                attempt = self.attempt = self._patiently(lambda: steps.plan(attempt, ports))
            return self._watched(attempt, ports, resumed=resumed)
        except Exception:
            raise
        except BaseException as limit:  # an engine's time limit
            if (ended := self._cut_off(limit)) is not None:
                return ended
            raise

    def _watched(self, attempt: Attempt, ports: steps.Ports, *, resumed: bool) -> Attempt:
        """The attempt at its end."""
        announced = False
        pauses, outage = self._pauses(), None
        while attempt.end is None:
            phase = attempt.phase
            try:
                attempt = self.attempt = self._call(attempt, ports)
            except Exception as error:  # noqa: BLE001 - raised again unless it is an outage
                outage = outage or datetime.now(UTC)
                attempt = self._endured(attempt, error, outage)
            else:
                outage, ports = None, replace(ports, first=False)
                if attempt.job is not None and not announced:
                    announced = True
                    self._announce(attempt, resumed=resumed)
            if attempt.phase != phase:
                pauses = self._pauses()
            elif attempt.end is None:
                self._sleep(next(pauses))
        return attempt

    def _call(self, attempt: Attempt, ports: steps.Ports) -> Attempt:
        """One step forward: a stop, if this worker is being killed, or whatever is due."""
        if self._killed and attempt.phase == "created":
            self.log.info("stopping %s %s", attempt.type, attempt.parts[-1].name)
            self._at_work = time.monotonic()
            stopped = steps.stop(attempt, ports)
        else:
            self._at_work = time.monotonic()
            stopped = steps.advance(attempt, ports)
        self._at_work = None
        return stopped

    def _endured(self, attempt: Attempt, error: Exception, since: datetime) -> Attempt:
        """The attempt as it is, after an error that is no verdict. Raises any other."""
        self._at_work = None
        if not is_outage(error):
            raise error
        waited = (datetime.now(UTC) - since).total_seconds()
        self.log.warning("%s does not answer (%s); looking again", attempt.type, error)
        if is_expired(error):
            with suppress(Exception):  # there may be none yet
                self.task.backend.renew()
        if waited > (PATIENCE if attempt.phase == "planned" else _limit(error)):
            raise error
        if datetime.now(UTC) < datetime.fromisoformat(attempt.deadline):
            return attempt
        name = attempt.parts[-1].name
        text = (
            f"{attempt.type} job {name} could not be looked at since {since:%Y-%m-%d %H:%M:%S} "
            f"UTC ({error}) and is beyond its maximum run time{self._send_stop(attempt)}"
        )
        return self._save(attempt.failing("service", text, code_of(error)))

    def _ports(self, *, first: bool = False) -> steps.Ports:
        task = self.task

        def request(name: str, token: str) -> Mapping[str, Any]:
            if name in self._requests:
                return self._requests[name]
            step = task.step
            arguments = self._resolver(name)({} if step.arguments is ABSENT else step.arguments)
            if not isinstance(arguments, Mapping):
                text = f"Arguments of {step.name!r} are no object: {arguments!r}"
                raise StepFailed(text, kind="unresolvable")
            role = task.role or task.backend.default_role
            made = job_type.request(step, arguments, name=name, token=token, role=role)
            shown = masked(made)
            task.on_request(shown)
            self.log.info("%s.%s %s", job_type.service, job_type.create, json.dumps(shown))
            self._requests[name] = made
            return made

        def outputs(attempt: Attempt, description: Mapping[str, Any]) -> dict[str, Any]:
            return job_outputs(attempt, job_type, description, task.step, task.references)

        job_type = JOB_TYPES[task.step.type]
        return steps.Ports(
            records=task.records,
            job_type=job_type,
            client=lambda fresh: self._client(fresh=fresh),
            request=request,
            outputs=outputs,
            stop_asked=self._stop_asked,
            seen=self._seen,
            missing_for=self._missing_for,
            first=first,
        )

    def _missing_for(self, found: bool) -> timedelta:
        """For how long this worker has not found the job: what is not there may be late only."""
        present = time.monotonic()
        since = present if self._missing_since is None else self._missing_since
        self._missing_since = None if found else since
        return timedelta(seconds=present - since)

    def _client(self, *, fresh: bool = False) -> Any:
        if fresh:
            self.task.backend.renew()
        return self.task.backend.client(JOB_TYPES[self.task.step.type].service)

    def _seen(self, attempt: Attempt, found: Mapping[str, Any]) -> None:
        self.task.records.beat(attempt)
        job_type, name = JOB_TYPES[attempt.type], attempt.parts[-1].name
        if job_type.stop is not None:
            backend = self.task.backend
            lines, self._position = backend.job_log(job_type.type, name, self._position)
            for line in lines:
                self._print(line)
        if (status := job_type.status(found)) != self._status:
            self._status = status
            self.log.info("%s %s: %s", attempt.type, name, status)
            if not job_type.knows(status):
                self.log.warning("%s is a status that sagebridge does not know", status)
        if not job_type.knows(status) and _beyond(attempt):
            job_type.request_stop(self._client(), name)
            raise StepFailed(
                f"{attempt.type} job {name} is {status}, which sagebridge does not know, beyond "
                "its maximum run time; it was stopped"
            )

    def _announce(self, attempt: Attempt, *, resumed: bool) -> None:
        if resumed:
            name = attempt.parts[-1].name
            self.log.info("found %s %s, started before; not starting another", attempt.type, name)
        self.task.on_job(attempt.parts[-1].as_job())

    # Code and conditions

    def _condition(self, step: ConditionStep) -> dict[str, Any]:
        held = all_hold(step.conditions or (), self._resolver())
        self.log.info("condition %s: %s", step.name, held)
        outputs = outputs_of(step, {"Outcome": str(held)}, self.task.references)
        return outputs | {"outcome": held}

    def _code(self, step: CarriedStep, held: int | None) -> dict[str, Any]:
        task = self.task
        asked = code_step.StopAsked(
            lambda: self._killed,
            lambda: task.records.stop_requested(task.execution.id),
            task.backend.poll_seconds[0],
        )
        try:
            value = code_step.run(
                step, task.function, self._resolver(), asked, self._print, task.on_request, held
            )
        except Exception:
            raise
        except BaseException as limit:  # an engine's time limit
            self._cut_off(limit)
            raise
        return {"step": step.name, "type": step.type, RETURN_VALUE: value}

    def _resolver(self, name: str | None = None) -> Resolver:
        task = self.task
        backend = task.backend
        return Resolver(task.execution, task.upstream, backend.read_object, backend.arn, name)

    def _print(self, text: str) -> None:
        self.log.info("[%s] %s", self.task.step.name, text)

    # Stops, records and waiting

    def _stop_asked(self) -> bool:
        return self._killed or self.task.records.stop_requested(self.task.execution.id)

    def _refuse_if_stopped(self) -> None:
        """Raises ExecutionStopped: nothing new starts after a stop was requested."""
        task = self.task
        if self._patiently(lambda: task.records.stop_requested(task.execution.id)):
            raise ExecutionStopped

    def _cut_off(self, limit: BaseException) -> Attempt | None:
        """The engine interrupts the step: its job is stopped, and the record says by what.

        Gives the attempt if it had succeeded by then. Raises StepStopped for a time limit, which
        the engine must not take for a lost worker.
        """
        attempt = self.attempt
        if attempt is None or attempt.end is not None or attempt.phase == "stopping":
            return None
        told = self._send_stop(attempt)
        what = f"{type(limit).__name__}: {limit}".rstrip(": ")
        timed_out = "timeout" in type(limit).__name__.lower()
        why = "stopped by the time limit of its task" if timed_out else "interrupted"
        text = f"{why} ({what})"
        if "could not" in told:
            text += told
        kind: FailureKind = "time-limit" if timed_out else "stopped"
        saved = self._save(attempt.failing(kind, text, state="Stopped"))
        if saved.state == "Succeeded":
            return saved
        if timed_out:
            raise StepStopped(text, kind="time-limit") from limit
        return None

    def _stop_behind(self) -> None:
        """Stops the job while the driver is held up in a call, which may be the one that makes it.

        Looks again until that call has returned: its job may be there only then.
        """
        while (began := self._at_work) is not None:
            attempt = self.attempt
            if attempt is None or attempt.phase not in ("planned", "created"):
                return
            if time.monotonic() > began + _BUSY and attempt.parts:
                with suppress(Exception):
                    ports = self._ports()
                    if ports.find(attempt.parts[-1].name) is not None:
                        steps.stop(attempt, ports)
                        return
            time.sleep(_SLICE)

    def _save(self, attempt: Attempt) -> Attempt:
        saved = self._patiently(lambda: self.task.records.save(attempt))
        self.attempt = saved
        return saved

    def _patiently(self, call: Callable[[], T]) -> T:
        """What a call gives, repeated while the records or the service do not answer."""
        began = time.monotonic()
        for pause in self._pauses():
            try:
                return call()
            except Exception as error:
                patience = _PATIENCE_OF_A_KILLED_WORKER if self._killed else PATIENCE
                if not is_outage(error) or time.monotonic() - began > patience:
                    raise
                self.log.warning("trying again: %s", error)
                if is_expired(error):
                    self.task.backend.renew()
            self._sleep(pause)
        raise AssertionError("unreachable")

    def _pauses(self) -> Any:
        """Seconds between two looks: growing, with jitter."""
        pause, longest = self.task.backend.poll_seconds
        while True:
            yield pause * random.uniform(0.8, 1.2)
            pause = min(pause * 1.5, longest)

    def _sleep(self, seconds: float) -> None:
        """Sleeps in slices, so that a kill during it is seen at once."""
        until, killed = time.monotonic() + seconds, self._killed
        while (left := until - time.monotonic()) > 0 and self._killed == killed:
            time.sleep(min(left, _SLICE))


def _limit(error: Exception) -> float:
    """Seconds for which an error is waited out while a job runs.

    Without records the end of a job could not be told, so the engine tries again after a while.
    """
    return _PATIENCE_WITH_RECORDS if isinstance(error, RecordsUnreachable) else math.inf


def _beyond(attempt: Attempt) -> bool:
    return bool(attempt.deadline) and datetime.now(UTC) > datetime.fromisoformat(attempt.deadline)
