"""The kinds of jobs that run on this machine: one module per kind, imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagebridge.model.step_types import STEP_TYPES, snake_case
from sagebridge_operators.run_errors import NotRunnable

if TYPE_CHECKING:
    from sagebridge_operators.backends.local.database import Records
    from sagebridge_operators.backends.local.supervised_job import Job, Outcome

DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJobType:
    """How one kind of job runs locally and how the API describes it.

    Attributes:
        run: runs a job in the supervisor until it ends.
        check: raises ``ApiError`` for an invalid request, before it is recorded.
        defaults: fields that the service adds to the request.
        expected: more fields of a new job's Describe response, from its request and name.
        details: more fields of a Describe response, from the body of the record and all records.
        summary: fields of List responses, in addition to those of all kinds.
        undescribed: fields that the Describe response does not have.
        secondary_statuses: whether the API describes the stages of a job.
    """

    kind: str
    run: Callable[[Job], Outcome]
    check: Callable[[Mapping[str, Any], Records, str], None] = lambda request, records, region: None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expected: Callable[[Mapping[str, Any], str], Mapping[str, Any]] = lambda request, name: {}
    details: Callable[[Mapping[str, Any], Records], Mapping[str, Any]] = lambda body, records: {}
    summary: tuple[str, ...] = ()
    undescribed: tuple[str, ...] = ()
    secondary_statuses: bool = False

    @property
    def resource(self) -> str:
        """The job as the API names it, such as TrainingJob."""
        row = STEP_TYPES.get(self.kind)
        return (row and row.resource) or f"{self.kind}Job"

    @property
    def arn_kind(self) -> str:
        """The kind of resource in its ARN, such as training-job."""
        return snake_case(self.resource).replace("_", "-")

    @property
    def name(self) -> str:
        return f"{self.resource}Name"

    @property
    def arn(self) -> str:
        return f"{self.resource}Arn"

    @property
    def status(self) -> str:
        return f"{self.resource}Status"

    @property
    def end_time(self) -> str:
        return f"{self.resource.removesuffix('Job')}EndTime"


_MODULES = {
    row.name: f"{row.function}_job"
    for row in STEP_TYPES.values()
    if Path(__file__).with_name(f"{snake_case(row.name)}_job.py").is_file()
}
LOCAL_KINDS = tuple(_MODULES)
"""The step types with a module in this package, such as ``processing_job``."""
# The API has no jobs of these kinds.
_MODULES |= {"EndpointServer": "endpoint_server", "Lambda": "lambda_invocation"}


@cache
def local_job_type(kind: str) -> LocalJobType:
    """The job type of a kind. Raises :class:`NotRunnable` if it has no module."""
    if kind not in _MODULES:
        raise NotRunnable(f"{kind} jobs on this machine")
    found: LocalJobType = import_module(f"{__package__}.{_MODULES[kind]}").JOB
    return found
