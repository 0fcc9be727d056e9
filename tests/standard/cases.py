"""The cases that every job type goes through, and which types they apply to.

A case adds faults and job scripts before the step runs, and describes how the step ends. The same
table runs on the step driver and on both engines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sagebridge.model.step_settings import RetryPolicy
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.steps.job_type import JobType
from tests.faulty_aws.fault_rules import Fault, FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.standard.samples import REASON, SAMPLES, Sample

State = Literal["Succeeded", "Failed", "Stopped", "Skipped"]
TEN_MINUTES = 600.0
FOREVER = float("inf")
_DURATION = 30.0
"""Seconds for which a job runs."""
Rules = Callable[[Sample], Sequence[FaultRule]]


@dataclass(frozen=True, slots=True)
class Need:
    """What a case needs of a job type; ``why_not`` is the reason if a type lacks it."""

    met: Callable[[JobType], object]
    why_not: str


STATUS = Need(lambda job: job.status_key, "its creation is synchronous")
CACHE = Need(lambda job: STEP_TYPES[job.type].cached_by, "steps of its type have no cache")
LOOKS = Need(lambda job: job.described, "the service cannot describe it")
FOUND = Need(
    lambda job: job.found_by != "at-least-once",
    "a lost answer repeats the call: at least once",
)
STOP = Need(lambda job: job.stop and job.described, "AWS cannot stop it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case.

    Args:
        needs: what the job type must have for the case to apply.
        rules: the faults of the service.
        statuses: the statuses of the job, ``_DURATION`` seconds each; None as usual.
        members: members of the description at the last status.
        state: the state in which the step ends.
        message: parts of the message; ``{job}`` is the name of the job.
        jobs: how many jobs or resources exist afterwards.
        requests: how many create requests were sent; None if it does not matter.
        failed_calls: how many more calls failed at each attempt of botocore.
        stops: whether a stop reaches the service, if AWS can stop the job.
        stop_message: parts of the message if AWS can stop the job.
        sessions: how often the client is opened, with new credentials each time.
        policies: the retry policies of the step.
        cached: whether the step has a cache.
        values: the value of the parameter ``Text`` in each execution, one after the other.
        fails: how many of its jobs end at ``statuses``; later ones complete. None: all.
        later: the state of a later step that refers to the job; None if there is none.
        later_path: the property that it refers to, if not the sample's own.
        later_message: parts of its message.
    """

    name: str
    needs: tuple[Need, ...] = ()
    rules: Rules = lambda sample: ()
    statuses: tuple[str, ...] | None = None
    members: Callable[[Sample], dict[str, Any]] = lambda sample: {}
    state: State = "Succeeded"
    message: tuple[str, ...] = ()
    jobs: int = 1
    requests: int | None = 1
    failed_calls: int = 0
    stops: bool = False
    stop_message: tuple[str, ...] = ()
    sessions: int | None = 1
    policies: tuple[RetryPolicy, ...] = ()
    cached: bool = False
    values: tuple[str, ...] = ("a text",)
    fails: int | None = None
    later: State | None = None
    later_path: str = ""
    later_message: tuple[str, ...] = ()

    def why_not(self, job_type: JobType) -> str:
        """Why the case does not apply to a type; empty if it does."""
        return "; ".join(need.why_not for need in self.needs if not need.met(job_type))

    def samples(self) -> list[Sample]:
        """The samples of the types to which the case applies."""
        return [one for one in SAMPLES.values() if not self.why_not(one.job_type)]

    def scripts(self, sample: Sample) -> list[JobScript]:
        usual = JobScript(
            name=sample.glob,
            kind=sample.kind.removesuffix("Job"),
            seconds=_DURATION,
            stop_seconds=1.0,
            members=self.members(sample),
        )
        if self.statuses is None:
            return [usual]
        walk = replace(usual, statuses=self.statuses)
        if self.fails is None:
            return [walk]
        return [
            replace(usual, members={}),
            *(replace(walk, name=sample.nth(n)) for n in range(self.fails)),
        ]


def looking(fault: Fault, *, stopping: bool = False, **more: Any) -> Rules:
    """A fault of Describe, from the creation of the job on; with ``stopping`` of Stop, too."""

    def rules(sample: Sample) -> list[FaultRule]:
        methods = ["describe", "stop"] if stopping and sample.job_type.stop else ["describe"]
        return [
            FaultRule(
                fault=fault,
                operation=sample.operation(method),
                name=sample.glob,
                per_resource=True,
                **more,
            )
            for method in methods
        ]

    return rules


def creating(
    fault: Fault, times: int | None = None, *, calls: float | None = None, **more: Any
) -> Rules:
    """A fault of the create request; ``calls`` counts all attempts of botocore at it as one."""
    return lambda sample: [
        FaultRule(
            fault=fault,
            operation=sample.operation("create"),
            name=sample.glob,
            times=times if calls is None else int(calls * sample.attempts),
            **more,
        )
    ]


def exceptions(*names: str) -> Need:
    """The exception types that a step's retry policies may list."""
    return Need(
        lambda job: set(names) <= set(STEP_TYPES[job.type].retried),
        f"its retry policies have no {' or '.join(names)}",
    )


def failing(reason: str) -> Callable[[Sample], dict[str, Any]]:
    """The members of a failed job with a reason of the service."""
    return lambda sample: {sample.job_type.reason_keys[0]: reason}


def both(*rules: Rules) -> Rules:
    return lambda sample: [rule for one in rules for rule in one(sample)]


CAPACITY, LIMIT, INTERNAL = (
    f"SageMaker.{kind}" for kind in ("CAPACITY_ERROR", "RESOURCE_LIMIT", "JOB_INTERNAL_ERROR")
)
THROTTLING, FAULT = "Step.THROTTLING", "Step.SERVICE_FAULT"
_REASONS = {
    CAPACITY: "CapacityError: Unable to provision requested ML compute capacity.",
    LIMIT: "ResourceLimitExceeded: The account-level service limit is 1 instance.",
    INTERNAL: "InternalServerError: We encountered an internal error. Please try again.",
}
_FAULTS: tuple[tuple[str, Fault, str], ...] = (
    (THROTTLING, "throttle", "ThrottlingException"),
    (FAULT, "error", "InternalFailure"),
)
_POLICIES = (
    *(
        Case(
            name=f"retried-{exception}",
            needs=(exceptions(exception),),
            policies=(RetryPolicy((exception,), max_attempts=3),),
            statuses=("InProgress", "Failed"),
            fails=2,
            members=failing(reason),
            jobs=3,
            requests=3,
        )
        for exception, reason in _REASONS.items()
    ),
    *(
        Case(
            name=f"not-matched-{exception}",
            needs=(exceptions(exception),),
            policies=(
                RetryPolicy(tuple({*_REASONS, THROTTLING, FAULT} - {exception}), max_attempts=3),
            ),
            statuses=("InProgress", "Failed"),
            members=failing(reason),
            state="Failed",
            message=("{job} {failed}", reason),
        )
        for exception, reason in _REASONS.items()
    ),
    Case(
        name="retried-limit-at-create",
        needs=(exceptions(LIMIT),),
        policies=(RetryPolicy((LIMIT,), max_attempts=3),),
        rules=creating("error", 2, status=400, code="ResourceLimitExceeded"),
        requests=3,
    ),
    *(
        Case(
            name=f"retried-{exception}",
            needs=(exceptions(exception),),
            policies=(RetryPolicy((exception,), interval_seconds=200, max_attempts=3),),
            rules=creating(fault, calls=2),
            failed_calls=2,
        )
        for exception, fault, _ in _FAULTS
    ),
    *(
        Case(
            name=f"exhausted-{exception}",
            needs=(exceptions(exception),),
            policies=(RetryPolicy((exception,), max_attempts=2),),
            rules=creating(fault),
            jobs=0,
            failed_calls=3,
            requests=0,
            state="Failed",
            message=(code,),
        )
        for exception, fault, code in _FAULTS
    ),
    Case(
        name="attempts-exhausted",
        needs=(exceptions(CAPACITY),),
        policies=(RetryPolicy((CAPACITY,), max_attempts=2),),
        statuses=("InProgress", "Failed"),
        members=failing(_REASONS[CAPACITY]),
        jobs=3,
        requests=3,
        state="Failed",
        message=("{job} {failed}", _REASONS[CAPACITY]),
    ),
    Case(
        name="deadline-exhausted",
        needs=(exceptions(CAPACITY),),
        policies=(RetryPolicy((CAPACITY,), interval_seconds=600, expire_after_min=30),),
        statuses=("InProgress", "Failed"),
        members=failing(_REASONS[CAPACITY]),
        jobs=2,  # after 10 minutes; 20 more would be too late
        requests=2,
        state="Failed",
        message=("{job} {failed}", _REASONS[CAPACITY]),
    ),
    Case(
        name="stopped-is-not-retried",
        needs=(STOP, exceptions(CAPACITY)),
        policies=(RetryPolicy((*_REASONS, THROTTLING, FAULT), max_attempts=3),),
        statuses=("InProgress", "Stopping", "Stopped"),
        members=failing(_REASONS[CAPACITY]),
        state="Stopped",
        message=("{job} {stopped}",),
    ),
)
CASES = (
    Case(name="completed", later="Succeeded"),
    Case(
        name="failed",
        needs=(STATUS,),
        statuses=("InProgress", "Failed"),
        members=lambda sample: dict(sample.failure),
        state="Failed",
        message=("{job} {failed}", REASON),
    ),
    Case(
        name="stopped",
        needs=(STATUS, STOP),
        statuses=("InProgress", "Stopping", "Stopped"),
        state="Stopped",
        message=("{job} {stopped}",),
    ),
    Case(name="throttled-looking", needs=(LOOKS,), rules=looking("throttle", seconds=TEN_MINUTES)),
    Case(
        name="5xx-looking", needs=(LOOKS,), rules=looking("error", seconds=TEN_MINUTES, status=503)
    ),
    Case(name="dropped-looking", needs=(LOOKS,), rules=looking("drop", seconds=TEN_MINUTES)),
    Case(
        name="expired-looking",
        needs=(LOOKS,),
        rules=looking("expired_token", seconds=TEN_MINUTES),
        sessions=None,
    ),
    Case(
        name="expired-looking-forever",
        needs=(LOOKS,),
        rules=looking("expired_token", stopping=True),
        statuses=("InProgress",),
        sessions=None,
        state="Failed",
        message=("{job} has passed its maximum run time", "its status is unknown since"),
        stop_message=("{job} could not be stopped", "check whether it runs"),
    ),
    Case(
        name="throttled-looking-forever",
        needs=(LOOKS,),
        rules=looking("throttle"),
        statuses=("InProgress",),
        state="Failed",
        message=("{job} has passed its maximum run time", "its status is unknown since"),
        stops=True,
        stop_message=("a stop was sent to", "{job}"),
    ),
    Case(
        name="denied-looking",
        needs=(LOOKS,),
        rules=looking("access_denied", start=10.0, seconds=TEN_MINUTES),
    ),
    Case(
        name="denied-looking-forever",
        needs=(STATUS, LOOKS),
        rules=looking("access_denied", start=10.0),
        statuses=("InProgress",),
        state="Failed",
        message=("{job} has passed its maximum run time", "its status is unknown since"),
        stops=True,
        stop_message=("a stop was sent to", "{job}"),
    ),
    Case(name="described-late", needs=(LOOKS,), rules=looking("not_found", seconds=20.0)),
    Case(
        name="vanished",
        needs=(STATUS, LOOKS),
        rules=looking("not_found", start=10.0),
        statuses=("InProgress",),
        state="Failed",
        message=("{job} has disappeared",),
        stops=True,
        stop_message=("a stop was sent to",),
    ),
    Case(name="throttled-creating", rules=creating("throttle", calls=1.5), requests=None),
    Case(name="5xx-creating", rules=creating("error", calls=1.5, status=500), requests=None),
    Case(name="dropped-creating", rules=creating("drop", calls=1.5), requests=None),
    Case(name="answer-lost", needs=(FOUND,), rules=creating("lose_answer", 1), requests=None),
    Case(
        name="answers-lost", needs=(FOUND,), rules=creating("lose_answer", calls=1), requests=None
    ),
    Case(
        name="answers-lost-and-described-late",
        needs=(FOUND, LOOKS),
        rules=both(creating("lose_answer", calls=1), looking("not_found", seconds=20.0)),
        requests=None,
    ),
    Case(
        name="expired-creating",
        rules=creating("expired_token", 1),
        requests=2,
        sessions=2,
    ),
    Case(
        name="expired-creating-forever",
        rules=creating("expired_token"),
        requests=2,
        sessions=2,
        jobs=0,
        state="Failed",
        message=("ExpiredTokenException", "renewed credentials were rejected too"),
    ),
    Case(
        name="refused",
        rules=creating("access_denied"),
        jobs=0,
        state="Failed",
        message=("AccessDeniedException", "not authorized to perform: "),
    ),
    Case(
        name="unknown-status",
        needs=(STATUS, LOOKS),
        statuses=("InProgress", "Levitating", "Completed"),
    ),
    Case(
        name="unknown-status-forever",
        needs=(STATUS, LOOKS),
        statuses=("InProgress", "Levitating"),
        state="Failed",
        message=("{job} has passed its maximum run time", "unknown status Levitating"),
        stops=True,
        stop_message=("a stop was sent to",),
    ),
    Case(
        name="missing-property",
        later="Failed",
        later_path="Nothing.Here",
        later_message=("Nothing.Here", "no such property"),
    ),
    *_POLICIES,
    Case(name="cache-hit", needs=(CACHE,), cached=True, values=("a text", "a text")),
    Case(
        name="cache-miss",
        needs=(CACHE,),
        cached=True,
        values=("another text", "a text"),
        jobs=2,
        requests=2,
    ),
    Case(name="no-cache", values=("a text", "a text"), jobs=2, requests=2),
)
