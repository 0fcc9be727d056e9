"""The job of an attempt: its name and token, its deadline, and what its description means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sagebridge_operators.lifecycle.attempt import Attempt, Failure
from sagebridge_operators.lifecycle.execution import job_name, job_token
from sagebridge_operators.lifecycle.masking import mask_text
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType

_DAY = 86400
_QUEUEING = timedelta(hours=2)
"""Time allowed on top of a job's maximum run time, for waiting in AWS's queue."""
Description = Mapping[str, Any]


def name_of(attempt: Attempt, job_type: JobType, prefix: str | None) -> str:
    """The name of an attempt's job."""
    return job_name(
        attempt.execution,
        attempt.generation,
        attempt.step,
        attempt.number,
        index=attempt.index,
        limit=job_type.name_limit,
        prefix=prefix,
    )


def token_of(attempt: Attempt) -> str:
    """A client token, at most 36 characters (the limit of CreateModelPackage)."""
    token = job_token(attempt.execution, attempt.generation, attempt.step, attempt.index)
    return f"{attempt.execution}-{token}-{attempt.number}"


def deadline_of(request: Mapping[str, Any], started: str) -> str:
    """The time until which outages and unknown statuses are waited out, as ISO 8601 in UTC.

    It follows from the job's StoppingCondition, whose MaxWaitTimeInSeconds (spot training) includes
    the run time. Without one it is five days.
    """
    limits = request.get("StoppingCondition")
    limits = limits if isinstance(limits, Mapping) else {}
    run, pending, wait = (
        value if isinstance(value := limits.get(name), int) else 0
        for name in ("MaxRuntimeInSeconds", "MaxPendingTimeInSeconds", "MaxWaitTimeInSeconds")
    )
    seconds = max(run + pending or 5 * _DAY, wait)
    until = datetime.fromisoformat(started) + timedelta(seconds=seconds) + _QUEUEING
    return until.isoformat(timespec="seconds")


def verdict_of(
    attempt: Attempt,
    job_type: JobType,
    found: Description,
    outputs: Callable[[Attempt, Description], dict[str, Any]],
    seen: str | None = None,
) -> Attempt:
    """The attempt with the end of its job, or unchanged while the job runs.

    ``seen`` is the time of an end whose time the description does not have; it defaults to now.
    """
    state = job_type.state(found)
    if state == "Executing":
        return attempt
    at = job_type.ended(found) or seen
    if state == "Succeeded":
        try:
            return attempt.with_end("Succeeded", outputs=outputs(attempt, found), at=at)
        except StepFailed as refused:
            return attempt.with_failure(refused.kind, str(refused))
    words = (
        f"{job_type.type} {job_type.noun} {attempt.parts[-1].shown} {job_type.status(found)}",
        job_type.reason(found),
    )
    text = mask_text(": ".join(filter(None, words)), found)
    stopped = attempt.phase == "stopping" and job_type.fails_when_stopped
    if state == "Stopped" or stopped:
        return attempt.with_end("Stopped", Failure("stopped", text), at=at)
    if state == "Skipped":
        return attempt.with_end("Skipped", Failure("final", text), at=at)
    failure = Failure(job_type.failure_kind(found), text, job_type.failure_code(found))
    return attempt.with_end("Failed", failure, at=at)
