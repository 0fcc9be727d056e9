"""Retry policies of a step: which failures they match, and when the step goes on.

They follow the page "Retry Policy for Pipeline Steps" of the SageMaker guide, which has no codes:
those below are from the API and from FailureReason. The first policy that lists the exception type
is used; each policy has its own counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sagebridge.model.display import words
from sagebridge.model.step_settings import RetryPolicy
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.lifecycle.attempt import Attempt, Failure
from sagebridge_operators.lifecycle.outages import is_service_fault, is_throttled

MOST_ATTEMPTS = 5
"""``MaxAttempts`` of a policy without ``MaxAttempts`` and ``ExpireAfterMin``."""
_INTERVAL, _RATE = 1.0, 2.0
_LONGEST = 14400 * 60.0
"""The longest delay in seconds: the largest ``ExpireAfterMin``."""
_CODES: Mapping[str, tuple[str, ...]] = {
    "RESOURCE_LIMIT": words(
        "LimitExceededException ResourceLimitExceeded ResourceLimitExceededException "
        "ServiceQuotaExceededException"
    ),
    "CAPACITY_ERROR": words(
        "CapacityError InsufficientCapacity InsufficientCapacityError "
        "InsufficientCapacityException InsufficientInstanceCapacity"
    ),
    "JOB_INTERNAL_ERROR": ("InternalServerError",),
}
"""The codes of each exception type, without its service. AlgorithmError and ClientError have no
type, so that they are never retried."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A use of a policy.

    Args:
        exception: the exception type.
        at: when the step goes on.
        position: the position of the policy in ``RetryPolicies``, from 0.
        uses: the counters of all policies, with this use.
        until: the limit of the policy, for messages.
    """

    exception: str
    at: datetime
    position: int
    uses: tuple[int, ...]
    until: str

    def message(self, attempt: Attempt) -> str:
        """What the policy does, for the log of the task; ``attempt`` failed."""
        number = attempt.number + (1 if attempt.end is None else 2)
        return (
            f"{attempt.reason or 'the job could not be created'}: retry policy {self.position + 1} "
            f"of step {attempt.step!r} applies ({self.exception}, {self.until}); its retry "
            f"{self.uses[self.position]} starts at {self.at:%Y-%m-%d %H:%M:%S} UTC, "
            f"as attempt {number} of the step"
        )


def after_failure(attempt: Attempt, policies: Sequence[RetryPolicy]) -> Retry | None:
    """The retry of an attempt that failed; None if no policy applies or its limit is reached."""
    end = attempt.end
    if end is None or end.state != "Failed" or end.failure is None:
        return None
    exceptions = _of_failure(end.failure)
    return _retry(attempt, policies, exceptions, datetime.fromisoformat(end.at))


def after_fault(
    attempt: Attempt, policies: Sequence[RetryPolicy], error: Exception, present: datetime
) -> Retry | None:
    """The retry of a call that failed before the attempt had a job; None as above."""
    return _retry(attempt, policies, _of_call(error), present)


def handles(attempt: Attempt, policies: Sequence[RetryPolicy], error: Exception) -> bool:
    """Whether a policy replaces the default retries of a failed call, even after its limit."""
    return _position(attempt.type, policies, _of_call(error)) is not None


def _of_failure(failure: Failure) -> tuple[str, ...]:
    if failure.kind not in ("job", "request"):
        return ()
    kinds = [kind for kind, codes in _CODES.items() if failure.code in codes]
    if failure.kind == "request" and "JOB_INTERNAL_ERROR" in kinds:
        return ()
    return tuple(f"{service}.{kind}" for kind in kinds for service in ("SageMaker", "Emr"))


def _of_call(error: Exception) -> tuple[str, ...]:
    if is_throttled(error):
        return ("Step.THROTTLING",)
    return ("Step.SERVICE_FAULT",) if is_service_fault(error) else ()


def _position(
    type_: str, policies: Sequence[RetryPolicy], exceptions: Sequence[str]
) -> tuple[int, str] | None:
    """The first policy that lists one of the exception types."""
    row = STEP_TYPES.get(type_)
    possible = [one for one in exceptions if row is not None and one in row.retried]
    for position, policy in enumerate(policies):
        for exception in possible:
            if exception in policy.exception_types:
                return position, exception
    return None


def _retry(
    attempt: Attempt, policies: Sequence[RetryPolicy], exceptions: Sequence[str], since: datetime
) -> Retry | None:
    if (found := _position(attempt.type, policies, exceptions)) is None:
        return None
    position, exception = found
    policy = policies[position]
    uses = [*attempt.uses, *[0] * len(policies)][: len(policies)]
    used, uses[position] = uses[position], uses[position] + 1
    at = since + _delay(policy, used)
    if (minutes := _number(policy.expire_after_min)) is not None:
        begun = datetime.fromisoformat(attempt.begun or attempt.started)
        expires = begun + timedelta(minutes=minutes)
        until = f"until {expires:%Y-%m-%d %H:%M:%S} UTC"
        allowed = at < expires
    else:
        most = _number(policy.max_attempts)
        most = MOST_ATTEMPTS if most is None else most
        until, allowed = f"at most {most:g} times", used < most
    return Retry(exception, at, position, tuple(uses), until) if allowed else None


def _delay(policy: RetryPolicy, used: int) -> timedelta:
    interval, rate = _number(policy.interval_seconds), _number(policy.backoff_rate)
    interval, rate = _INTERVAL if interval is None else interval, _RATE if rate is None else rate
    try:
        return timedelta(seconds=min(interval * rate**used, _LONGEST))
    except OverflowError:
        return timedelta(seconds=_LONGEST)


def _number(value: Value) -> float | None:
    """A number of a policy; None if the definition has none."""
    if value is ABSENT or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
