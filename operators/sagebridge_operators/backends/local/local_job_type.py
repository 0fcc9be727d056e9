"""The kinds of job that run on this machine: a module each, loaded when one is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.run_errors import NotRunnable

if TYPE_CHECKING:
    from sagebridge_operators.backends.local.database import Records
    from sagebridge_operators.backends.local.supervised_job import Job, Outcome

DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJobType:
    """How one kind of job runs here, and how the API describes it.

    Attributes:
        run: runs a job to its end in the supervisor.
        check: rejects a request before it is recorded, with an ``ApiError``.
        defaults: members that the service adds to the request.
        expected: further members that a new job is described with, from its request and name.
        summary: members that List responses have in addition to those of every kind.
        undescribed: members that the Describe response lacks.
        secondary_statuses: whether the API describes the stages of a job.
    """

    kind: str
    run: Callable[[Job], Outcome]
    check: Callable[[Mapping[str, Any], Records, str], None] = lambda request, records, region: None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expected: Callable[[Mapping[str, Any], str], Mapping[str, Any]] = lambda request, name: {}
    summary: tuple[str, ...] = ()
    undescribed: tuple[str, ...] = ()
    secondary_statuses: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}JobName"

    @property
    def arn(self) -> str:
        return f"{self.kind}JobArn"

    @property
    def status(self) -> str:
        return f"{self.kind}JobStatus"


_MODULES = {
    row.name: f"{row.function}_job"
    for row in STEP_TYPES.values()
    if Path(__file__).with_name(f"{row.function}_job.py").is_file()
}
LOCAL_KINDS = tuple(_MODULES)
"""The step types that have a module here, such as ``processing_job``."""


@cache
def local_job_type(kind: str) -> LocalJobType:
    """Raises :class:`NotRunnable` for a kind without a module."""
    if kind not in _MODULES:
        raise NotRunnable(f"{kind} jobs on this machine")
    found: LocalJobType = import_module(f"{__package__}.{_MODULES[kind]}").JOB
    return found
