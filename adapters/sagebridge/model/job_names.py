"""Prefixes of job names: the name of a job or resource in the Arguments of a step.

The SDK writes them with ``use_custom_job_prefix``, so that IAM policies can refer to the prefix.
"""

from __future__ import annotations

import re

# The pattern of job names in the SageMaker API; more characters follow, so it may end with hyphens.
_PREFIX = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*-*")


def name_prefix(name: object) -> str | None:
    """The prefix for a given name; None if no job can have it."""
    if not isinstance(name, str) or not _PREFIX.fullmatch(name):
        return None
    return name.rstrip("-")
