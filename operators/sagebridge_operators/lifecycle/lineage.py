"""The S3 data that a job read and wrote, from its description."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sagebridge_operators.lifecycle.backend import Backend
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


def s3_uris(expression: str | None, description: Mapping[str, Any]) -> list[str]:
    """The ``s3://`` URIs that a JMESPath expression finds."""
    return [uri for uri in search(expression, description) if uri.startswith("s3://")]


def search(expression: str | None, description: Mapping[str, Any]) -> list[str]:
    """The distinct strings that a JMESPath expression finds; an empty list without one."""
    import jmespath  # botocore needs it, too
    from jmespath.exceptions import JMESPathError

    if expression is None:
        return []
    try:
        found = jmespath.search(expression, description)
    except JMESPathError:  # join() of a missing value
        return []
    values = found if isinstance(found, list) else [found]
    return list(dict.fromkeys(one for one in values if isinstance(one, str)))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI. Repeated slashes and a slash at the end of the key are removed.

    For example, SageMaker writes the output of a job below ``s3://b/x/`` to ``s3://b/x/NAME``.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, re.sub("//+", "/", key).strip("/")
