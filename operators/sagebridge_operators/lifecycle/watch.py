"""What is left of a step when its worker may leave it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.steps import JOB_TYPES

BEAT = timedelta(minutes=15)
"""How often a worker records that it looks at a job, if no lock shows that.

1,000 jobs make 67 writes a minute.
"""


@dataclass(frozen=True, slots=True)
class Watch:
    """A job to look at until it has ended, or a time to wait for. Contains ids and times only.

    Args:
        execution: the id of the execution, which is part of the job's name.
        type: the ``Type`` of the step.
        job: the name of the job; empty if the step waits for ``not_before`` to start one.
        deadline: an ISO 8601 time in UTC. After it, outages and unknown statuses are not waited out
            any longer.
        not_before: an ISO 8601 time in UTC, or empty.
    """

    execution: str
    type: str
    job: str
    deadline: str
    not_before: str = ""

    @classmethod
    def of(cls, attempt: Attempt) -> Watch | None:
        """What is left of an attempt; None if its worker still has something else to do."""
        ids = attempt.execution, attempt.type
        if attempt.phase == "created" and attempt.job is not None:
            name = JOB_TYPES[attempt.type].watched(attempt.job.name)
            return cls(*ids, name, attempt.deadline)
        waits = attempt.phase in ("waiting", "planned") and attempt.next_look
        if waits and datetime.fromisoformat(attempt.next_look) > datetime.now(UTC):
            return cls(*ids, "", attempt.deadline, attempt.next_look)
        return None


def next_look(attempt: Attempt, records: ExecutionRecords, *, defer: bool) -> str:
    """When the watcher of a job looks again, for the record of the attempt.

    A sweep takes a job for lost some time after that. A deferred step returns to a worker at its
    deadline. A worker renews the time every :data:`BEAT`, unless a lock shows that it is alive.
    """
    present = datetime.now(UTC)
    if defer and Watch.of(attempt) is not None:
        return attempt.deadline
    if records.attended(attempt) is not None:
        return ""
    known = attempt.next_look
    if known and present < datetime.fromisoformat(known) <= present + BEAT:
        return known
    return (present + BEAT).isoformat(timespec="milliseconds")


def record_next_look(attempt: Attempt, records: ExecutionRecords, *, defer: bool) -> Attempt:
    """The attempt with its next look, recorded if it has changed."""
    if not attempt.running or attempt.job is None:
        return attempt
    noted = replace(attempt, next_look=next_look(attempt, records, defer=defer))
    return attempt if noted == attempt else records.save(noted)
