"""The client of a job."""

from __future__ import annotations

from typing import Any

from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.steps.job_type import JobType


def client_of(job_type: JobType, backend: Backend, records: ExecutionRecords) -> Any:
    """The client that the methods of a job type take."""
    del records
    return backend.client(job_type.service)
