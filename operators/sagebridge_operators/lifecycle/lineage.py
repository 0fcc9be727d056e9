"""The S3 data that a job read and wrote, from its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.s3_uris import s3_uris, search
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType


def inputs_and_outputs(
    job_type: JobType, name: str, backend: Backend
) -> tuple[list[str], list[str]]:
    """The S3 URIs of a job's inputs and outputs; both are empty if the job does not exist.

    Inputs include the files of a model or model package that the job uses.
    """
    if job_type.s3_inputs is None and job_type.s3_outputs is None:
        return [], []
    found = job_type.find(job_type.client(backend), name) or {}
    inputs = list(dict.fromkeys(_inputs(job_type, found, backend)))
    return inputs, s3_uris(job_type.s3_outputs, found)


def _inputs(job_type: JobType, description: Mapping[str, Any], backend: Backend) -> Iterator[str]:
    yield from s3_uris(job_type.s3_inputs, description)
    for expression, other in job_type.made_from.items():
        for name in search(expression, description):
            made_from = JOB_TYPES[other]
            with suppress(Exception):  # such as a missing permission; the other data is still known
                found = made_from.find(made_from.client(backend), name)
                yield from _inputs(made_from, found or {}, backend)
