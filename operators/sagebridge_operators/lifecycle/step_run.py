"""One step from its expressions to its outputs, the same under every engine and backend."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sagebridge.errors import SagebridgeError
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep
from sagebridge.model.expressions import Get
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution, job_name, job_token
from sagebridge_operators.lifecycle.masking import masked, masked_text
from sagebridge_operators.lifecycle.outputs import check_size, json_safe, outputs_of
from sagebridge_operators.lifecycle.records import ExecutionRecords, now
from sagebridge_operators.lifecycle.resolve import Resolver, Upstream
from sagebridge_operators.lifecycle.user_code import code_step
from sagebridge_operators.run_errors import (
    ExecutionStopped,
    NotRunnable,
    StepFailed,
    StepStopped,
)
from sagebridge_operators.steps import JOB_TYPES, why_not_runnable
from sagebridge_operators.steps.condition import all_hold
from sagebridge_operators.steps.job_type import JobType

_SLICE = 0.2
THROTTLED = frozenset(
    (
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    )
)
"""Error codes that are no verdict on a request, though AWS answers them with HTTP 400."""


class Log(Protocol):
    """A standard logger, or an engine's that takes the same calls."""

    def info(self, event: str, /, *args: Any) -> Any: ...

    def warning(self, event: str, /, *args: Any) -> Any: ...


@dataclass(slots=True)
class StepRun:
    """A step about to run. ``references`` are all that the pipeline makes to it.

    ``function`` is what a step of carried Python calls. ``generation`` changes when a person asks
    for the step anew, not when a worker is lost. ``killed`` is set by the engine, from a signal
    handler too, and seen within a fraction of a second. ``on_request`` is shown the request,
    secrets masked; ``on_job`` the job once it exists. ``held`` is the descriptor that shows others
    that a worker is at the step.
    """

    step: Step
    execution: Execution
    backend: Backend
    records: ExecutionRecords
    upstream: Upstream
    function: Callable[..., Any] | None = None
    references: Sequence[Get] = ()
    generation: int = 0
    attempt: int = 0
    role: str | None = None
    log: Log = field(default_factory=lambda: logging.getLogger(__name__))
    on_request: Callable[[Mapping[str, Any]], None] = lambda request: None
    on_job: Callable[[Mapping[str, Any]], None] = lambda job: None
    killed: bool = False
    stopping: bool = False
    held: int | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """The step's outputs (JSON). Raises a SagebridgeError, mostly :class:`StepFailed`.

        Any other exception is no verdict on the step: the engine may try again, and finds the job.
        """
        with self.records.attend(self.execution.id, self.step.name) as self.held:
            return self._run()

    def _run(self) -> dict[str, Any]:
        self.record = {"name": self.step.name, "type": self.step.type, "started": now()}
        if self.generation:
            self.record["generation"] = self.generation
        self.record |= self._begun()
        self._save("Executing")
        try:
            if self.records.stop_requested(self.execution.id) and not self._has_job():
                raise ExecutionStopped
            outputs = self._body()
            check_size(self.step.name, outputs)
        except SagebridgeError as verdict:
            state = verdict.state if isinstance(verdict, StepFailed) else "Failed"
            self._save(state, reason=str(verdict), ended=now())
            raise
        except BaseException as error:
            self.log.warning("step %s: %s: %s", self.step.name, type(error).__name__, error)
            raise
        self._save("Succeeded", outputs=outputs, ended=now())
        return outputs

    def _begun(self) -> dict[str, Any]:
        """What the record of a worker that was lost says, where it was doing this very step."""
        found = self.records.step_record(self.execution.id, self.step.name) or {}
        lost = found.get("status") in ("Executing", "Stopping")
        if not lost or found.get("generation", 0) != self.generation:
            return {}
        return {name: found[name] for name in ("started", "job") if name in found}

    def _has_job(self) -> bool:
        """Whether there is a job already, which a worker that was lost has made."""
        job_type = JOB_TYPES.get(self.step.type)
        if job_type is None:
            return False
        client = self.backend.client(job_type.service)
        return job_type.find(client, self._job_name(job_type)) is not None

    def _job_name(self, job_type: JobType) -> str:
        limit = job_type.name_limit
        name = self.step.name
        return job_name(self.execution.id, self.generation, name, self.attempt, limit=limit)

    def give_up(self, error: Exception) -> None:
        """Records an error after which the engine does not try again: its job is left to nobody."""
        if job := self.record.get("job"):
            job_type = JOB_TYPES[self.step.type]
            with suppress(Exception):
                job_type.request_stop(self.backend.client(job_type.service), job["name"])
        self._save("Failed", reason=f"{type(error).__name__}: {error}", ended=now())

    def _body(self) -> dict[str, Any]:
        step = self.step
        if step.retry_policies:
            self.log.warning("retry policies of %s are kept but not applied yet", step.name)
        if step.cache:
            self.log.warning("caching of %s is kept but not applied yet", step.name)
        if (what := why_not_runnable(step)) is not None:
            raise NotRunnable(what)
        if isinstance(step, ConditionStep):
            held = all_hold(step.conditions or (), self._resolver())
            self.log.info("condition %s: %s", step.name, held)
            return outputs_of(step, {"Outcome": str(held)}, self.references) | {"outcome": held}
        if step.type == "Fail":
            arguments = {} if step.arguments is ABSENT else step.arguments
            raise StepFailed(str(self._resolver()(arguments.get("ErrorMessage", ""))))
        if isinstance(step, CarriedStep):
            return self._code(step)
        return self._job(JOB_TYPES[step.type])

    def _resolver(self, name: str | None = None) -> Resolver:
        return Resolver(
            self.execution, self.upstream, self.backend.read_object, self.backend.arn, name
        )

    def _code(self, step: CarriedStep) -> dict[str, Any]:
        asked = code_step.StopAsked(
            lambda: self.killed,
            lambda: self.records.stop_requested(self.execution.id),
            self.backend.poll_seconds[0],
        )
        try:
            value = code_step.run(
                step,
                self.function,
                self._resolver(),
                asked,
                self._print,
                self.on_request,
                self.held,
            )
        except Exception:
            raise
        except BaseException as limit:  # an engine's time limit
            self._save("Stopped", reason=f"{type(limit).__name__}: {limit}", ended=now())
            raise
        return {"step": step.name, "type": step.type, RETURN_VALUE: value}

    def _print(self, text: str) -> None:
        self.log.info("[%s] %s", self.step.name, text)

    def _job(self, job_type: JobType) -> dict[str, Any]:
        step, name = self.step, self._job_name(job_type)
        client = self.backend.client(job_type.service)
        try:
            if job_type.find(client, name) is None:
                name = self._start(job_type, client, name)
            else:
                self.log.info("found %s %s, started before; not starting another", step.type, name)
            description = self._wait(job_type, client, name)
        except StepFailed:
            raise
        except SagebridgeError:  # no record can be kept: nobody would watch the job
            job_type.request_stop(client, name)
            raise
        except Exception:
            raise
        except BaseException as limit:  # an engine's time limit
            if not self.stopping:
                job_type.request_stop(client, name)
                self._save("Stopped", reason=f"{type(limit).__name__}: {limit}", ended=now())
            raise
        job = {"name": name, "arn": description.get(job_type.arn_key)}
        self.record["job"] = job
        result = {
            "step": step.name,
            "type": step.type,
            "status": job_type.status(description),
            "job": job,
            **outputs_of(step, description, self.references),
        }
        return dict(json_safe(result))

    def _start(self, job_type: JobType, client: Any, name: str) -> str:
        from botocore.exceptions import ClientError, ParamValidationError

        arguments = self._resolver(name)(
            {} if self.step.arguments is ABSENT else self.step.arguments
        )
        if not isinstance(arguments, Mapping):
            raise StepFailed(f"Arguments of {self.step.name!r} are no object: {arguments!r}")
        token = (
            f"{self.execution.id}-{job_token(self.execution.id, self.generation, self.step.name)}"
        )
        request = job_type.request(
            self.step,
            arguments,
            name=name,
            token=f"{token}-{self.attempt}",
            role=self.role or self.backend.default_role,
        )
        shown = masked(request)
        self.on_request(shown)
        self.log.info("%s.%s %s", job_type.service, job_type.create, json.dumps(shown))
        self._stop_if_asked()
        try:
            return job_type.start(client, request, name)
        except ParamValidationError as error:
            reason = masked_text(str(error), request)
            # Botocore quotes what it does not understand, so its own text goes no further.
            raise StepFailed(f"{job_type.create}: {reason}") from None
        except ClientError as error:
            if error.response["Error"].get("Code") in THROTTLED:
                raise
            if 400 <= error.response["ResponseMetadata"].get("HTTPStatusCode", 0) < 500:
                raise StepFailed(masked_text(str(error), request)) from None
            raise

    def _stop_if_asked(self) -> None:
        if self.killed or self.records.stop_requested(self.execution.id):
            raise StepStopped("stopped before its job was started")

    def _wait(self, job_type: JobType, client: Any, name: str) -> dict[str, Any]:
        """Polls until the job has ended; a stop asked for on the way is passed on to it."""
        seen, position = "", 0
        shortest, longest = self.backend.poll_seconds
        pause = shortest
        while True:
            found = job_type.find(client, name)
            if found is None:
                raise StepFailed(f"{job_type.type} {name} has disappeared")
            if not seen:
                self._announce(job_type, name, found)
            if job_type.stop is not None:
                position = self._follow_log(job_type, name, position)
            if (status := job_type.status(found)) != seen:
                seen = status
                self.log.info("%s %s: %s", job_type.type, name, status)
            state = job_type.state(found)
            if state == "Succeeded":
                return found
            if state != "Executing":
                words = (f"{job_type.type} job {name} {status}", job_type.reason(found))
                verdict = StepStopped if state == "Stopped" else StepFailed
                raise verdict(": ".join(filter(None, words)))
            asked = self.killed or self.records.stop_requested(self.execution.id)
            if asked and not self.stopping:
                self.log.info("stopping %s %s", job_type.type, name)
                job_type.request_stop(client, name)
                self._save("Stopping")
                self.stopping, pause = True, shortest
            self._sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 1.5, longest)

    def _follow_log(self, job_type: JobType, name: str, position: int) -> int:
        lines, position = self.backend.job_log(job_type.type, name, position)
        for line in lines:
            self._print(line)
        return position

    def _announce(self, job_type: JobType, name: str, description: Mapping[str, Any]) -> None:
        job = {"name": name, "arn": description.get(job_type.arn_key)}
        self.record["job"] = job
        self._save("Executing")
        self.on_job(job)

    def _sleep(self, seconds: float) -> None:
        """Sleeps in slices, so that a kill during it is seen at once."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and (self.stopping or not self.killed):
            time.sleep(min(left, _SLICE))

    def _save(self, status: str, **more: Any) -> None:
        self.record = {**self.record, "status": status, **more}
        self.records.step(self.execution.id, self.step.name, self.record)
