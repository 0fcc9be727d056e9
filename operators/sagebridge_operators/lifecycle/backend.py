"""The interface of a backend: AWS, or this machine behind the same boto3 clients."""

from __future__ import annotations

from typing import Protocol

from sagebridge_operators.steps.job_type import Services

NAMES = ("aws", "local")
"""The names of the backends."""


LINES = 1000
"""Most lines of a job's log that are shown at once."""


class JobLog(Protocol):
    """The log of one job. ``position`` grows as it is read; a record stores it."""

    position: int

    def read(self, limit: int = LINES) -> list[str]:
        """The lines since the last call, or the last ``limit`` ones after a line about the gap.

        Never raises an error: a line reports why the log cannot be read.
        """


class Backend(Services, Protocol):
    """Runs jobs.

    ``poll_seconds`` are the shortest and longest pause between two looks at a job;
    ``default_role`` is the ARN of the role for jobs whose request has none. ``has_experiments`` is
    whether its jobs can be part of an experiment. ``response_queue`` is the URL of the queue for
    answers to Callback steps: empty if it is not set, None if consumers need none.
    """

    name: str
    poll_seconds: tuple[float, float]
    default_role: str | None
    has_experiments: bool

    @property
    def response_queue(self) -> str | None: ...

    def renew(self) -> None:
        """Replaces the clients by new ones that use the current credentials."""

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource, such as ``pipeline/x``, in this account and region."""

    def job_log(self, kind: str, name: str, position: int = 0) -> JobLog:
        """The log of a job of a step type, from ``position`` on."""
