"""The S3 URIs in the description of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


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
