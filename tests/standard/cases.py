"""The cases that every job type goes through, and which types they apply to.

A case adds faults and job scripts before the step runs, and describes how the step ends. The same
table runs on the step driver and on both engines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sagebridge_operators.steps.job_type import JobType
from tests.faulty_aws.fault_rules import Fault, FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.standard.samples import REASON, SAMPLES, Sample

State = Literal["Succeeded", "Failed", "Stopped"]
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
STOP = Need(lambda job: job.stop, "AWS cannot stop it")


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
        stops: whether a stop reaches the service, if AWS can stop the job.
        stop_message: parts of the message if AWS can stop the job.
        sessions: how often the client is opened, with new credentials each time.
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
    stops: bool = False
    stop_message: tuple[str, ...] = ()
    sessions: int | None = 1
    later: State | None = None
    later_path: str = ""
    later_message: tuple[str, ...] = ()

    def why_not(self, job_type: JobType) -> str:
        """Why the case does not apply to a type; empty if it does."""
        return "; ".join(need.why_not for need in self.needs if not need.met(job_type))

    def samples(self) -> list[Sample]:
        """The samples of the types to which the case applies."""
        return [one for one in SAMPLES.values() if not self.why_not(one.job_type)]

    def script(self, sample: Sample) -> JobScript:
        return JobScript(
            name=sample.glob,
            kind=sample.kind.removesuffix("Job"),
            statuses=self.statuses or ("InProgress", "Completed"),
            seconds=_DURATION,
            stop_seconds=1.0,
            members=self.members(sample),
        )


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


def creating(fault: Fault, times: int | None = None, **more: Any) -> Rules:
    """A fault of the create request."""
    return lambda sample: [
        FaultRule(
            fault=fault,
            operation=sample.operation("create"),
            name=sample.glob,
            times=times,
            **more,
        )
    ]


def both(*rules: Rules) -> Rules:
    return lambda sample: [rule for one in rules for rule in one(sample)]


_BOTOCORE = 4
"""The attempts at one call inside botocore (``client_config`` in backends/aws.py)."""
CASES = (
    Case(name="completed", later="Succeeded"),
    Case(
        name="failed",
        needs=(STATUS,),
        statuses=("InProgress", "Failed"),
        members=lambda sample: dict(sample.failure),
        state="Failed",
        message=("{job} Failed", REASON),
    ),
    Case(
        name="stopped",
        needs=(STATUS, STOP),
        statuses=("InProgress", "Stopping", "Stopped"),
        state="Stopped",
        message=("{job} Stopped",),
    ),
    Case(name="throttled-looking", rules=looking("throttle", seconds=TEN_MINUTES)),
    Case(name="5xx-looking", rules=looking("error", seconds=TEN_MINUTES, status=503)),
    Case(name="dropped-looking", rules=looking("drop", seconds=TEN_MINUTES)),
    Case(
        name="expired-looking",
        rules=looking("expired_token", seconds=TEN_MINUTES),
        sessions=None,
    ),
    Case(
        name="expired-looking-forever",
        rules=looking("expired_token", stopping=True),
        statuses=("InProgress",),
        sessions=None,
        state="Failed",
        message=("{job} has passed its maximum run time", "its status is unknown since"),
        stop_message=("{job} could not be stopped", "check whether it runs"),
    ),
    Case(
        name="throttled-looking-forever",
        rules=looking("throttle"),
        statuses=("InProgress",),
        state="Failed",
        message=("{job} has passed its maximum run time", "its status is unknown since"),
        stops=True,
        stop_message=("a stop was sent to", "{job}"),
    ),
    Case(name="described-late", rules=looking("not_found", seconds=20.0)),
    Case(name="throttled-creating", rules=creating("throttle", _BOTOCORE + 2), requests=None),
    Case(name="5xx-creating", rules=creating("error", _BOTOCORE + 2, status=500), requests=None),
    Case(name="dropped-creating", rules=creating("drop", _BOTOCORE + 2), requests=None),
    Case(name="answer-lost", rules=creating("lose_answer", 1), requests=None),
    Case(name="answers-lost", rules=creating("lose_answer", _BOTOCORE), requests=None),
    Case(
        name="answers-lost-and-described-late",
        rules=both(creating("lose_answer", _BOTOCORE), looking("not_found", seconds=20.0)),
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
        message=("AccessDeniedException", "not authorized to perform: sagemaker:Create"),
    ),
    Case(
        name="unknown-status",
        needs=(STATUS,),
        statuses=("InProgress", "Levitating", "Completed"),
    ),
    Case(
        name="unknown-status-forever",
        needs=(STATUS,),
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
)
