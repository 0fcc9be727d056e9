"""What advancing an attempt needs: its records, its service and what is called on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sagebridge.model.step_settings import RetryPolicy
from sagebridge_operators.lifecycle import policy
from sagebridge_operators.lifecycle.attempt import Attempt, as_text
from sagebridge_operators.lifecycle.attempt_job import Description, name_of, token_of
from sagebridge_operators.lifecycle.caching import StepCache
from sagebridge_operators.lifecycle.masking import mask_text
from sagebridge_operators.lifecycle.outages import code_of, is_expired, is_throttled
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Ports:
    """The records, service and callbacks that advancing an attempt needs.

    Args:
        client: returns the boto3 client of the job's service; ``True`` renews its credentials.
        request: returns the resolved create request for a job name and client token.
        outputs: returns the step's outputs from the description of its successful job.
        stop_requested: whether a stop of the execution or of this worker was requested.
        on_description: called with each description of the job.
        missing_for: how long the job has been missing; its argument says if it is found now.
        handle: returns the handle of a job about to be created, from its name, its client token and
            the start of its attempt.
        prefix: returns the prefix of the job's name; None if the definition has none.
        first_call: whether this is the worker's first call. A job that is Stopped then was not
            stopped by this worker.
        policies: the retry policies of the step.
        on_retry: called with each use of a policy, and the attempt that it follows.
        cache: the cache of the step, if enabled.
        on_unrecorded: called with the name of a job that an earlier try created elsewhere.
        on_hit: called with an attempt that reuses an earlier job.
        on_repeat: called before a call that an earlier worker may have made.
        on_left: called with a message if something of an ended job could not be cleaned up.
        clock: returns the current time, in UTC.
        next_look: when the watcher of a created job looks again, as the record has it.
    """

    records: ExecutionRecords
    job_type: JobType
    client: Callable[[bool], Any]
    request: Callable[[str, str], Mapping[str, Any]]
    outputs: Callable[[Attempt, Description], dict[str, Any]]
    stop_requested: Callable[[], bool]
    on_description: Callable[[Attempt, Description], object]
    missing_for: Callable[[bool], timedelta]
    handle: Callable[[str, str, str], str] = lambda name, token, started: name
    prefix: Callable[[], str | None] = lambda: None
    first_call: bool = False
    next_look: Callable[[Attempt], str] = lambda attempt: ""
    policies: Sequence[RetryPolicy] = ()
    on_retry: Callable[[Attempt, policy.Retry], object] = lambda attempt, retry: None
    cache: StepCache | None = None
    on_hit: Callable[[Attempt], object] = lambda attempt: None
    on_repeat: Callable[[Attempt], object] = lambda attempt: None
    on_left: Callable[[str], object] = lambda message: None
    on_unrecorded: Callable[[str], object] = lambda name: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def now(self) -> str:
        return as_text(self.clock())

    def find(self, name: str) -> dict[str, Any] | None:
        return self.job_type.find(self.client(False), name)

    def name(self, attempt: Attempt) -> str:
        """The name of the attempt's job."""
        return name_of(attempt, self.job_type, self.prefix())

    def send(self, attempt: Attempt, call: Callable[[Any, Mapping[str, Any]], _Answer]) -> _Answer:
        """The answer to a call with the attempt's request. Raises StepFailed if it is rejected."""
        from botocore.exceptions import ClientError, ParamValidationError

        job_type = self.job_type
        request = self.request(self.name(attempt), token_of(attempt))
        for fresh in (False, True):
            try:
                return call(self.client(fresh), request)
            except ParamValidationError as error:
                reason = mask_text(str(error), request)
                # "from None": botocore quotes rejected values in its message, which is not masked.
                raise StepFailed(
                    f"{job_type.create_method(request)}: {reason}", kind="request"
                ) from None
            except ClientError as error:
                text = mask_text(str(error), request)
                error.args = (text,)  # an outage is logged, and raised after a while
                if is_expired(error) and not fresh:
                    continue
                status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
                if is_throttled(error) or not 400 <= status < 500:
                    raise
                if is_expired(error):
                    advice = "renewed credentials were rejected too; renew them and clear the step"
                    text = f"{text} ({advice})"
                raise StepFailed(text, kind="request", code=code_of(error)) from None
        raise AssertionError("unreachable")

    def send_stop(self, attempt: Attempt) -> str:
        """As :func:`send_stop`, with the client of the job's service."""
        return send_stop(attempt, lambda: self.client(False))


def send_stop(attempt: Attempt, client: Callable[[], Any]) -> str:
    """Stops the job of an attempt that ends; returns the result as the tail of a message."""
    job_type, name = JOB_TYPES[attempt.type], attempt.parts[-1].name
    if job_type.stop is None:
        with suppress(Exception):  # only a call on this machine can be stopped
            job_type.request_stop(client(), name)
        return ""
    if left := lost_answer(attempt):
        return left
    if left := job_type.left_by_stop(name):
        return f"; {left}"
    try:
        job_type.request_stop(client(), name)
    except Exception as refused:  # noqa: BLE001 - reported in the message
        made = "" if attempt.job else "may have been created and "
        text = f"could not be stopped ({refused}); check whether it runs"
        return f"; {attempt.type} {job_type.noun} {attempt.parts[-1].shown} {made}{text}"
    sent = f"; a stop was sent to {attempt.type} {job_type.noun} {attempt.parts[-1].shown}"
    return sent if attempt.job else ""


def lost_answer(attempt: Attempt) -> str:
    """That the call of an attempt may have been carried out, as the tail of a message."""
    part = attempt.parts[-1] if attempt.called else None
    if part is None or not JOB_TYPES[attempt.type].if_unanswered(part.name):
        return ""
    text = "may have been carried out and could not be stopped, as its answer was lost"
    return f"; {part.shown} {text}: check what it started"
