"""What is left of a step when its worker may leave it."""

from __future__ import annotations

from dataclasses import dataclass

from sagebridge_operators.lifecycle.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Watch:
    """A job to look at until it has ended. Contains ids and times only.

    Args:
        execution: the id of the execution, which is part of the job's name.
        type: the ``Type`` of the step.
        deadline: an ISO 8601 time in UTC. After it, outages and unknown statuses are not waited out
            any longer.
    """

    execution: str
    type: str
    job: str
    deadline: str

    @classmethod
    def of(cls, attempt: Attempt) -> Watch | None:
        """What is left of an attempt; None if its worker still has something else to do."""
        if attempt.phase != "created" or attempt.job is None:
            return None
        return cls(attempt.execution, attempt.type, attempt.job.name, attempt.deadline)
