"""Cleanup: deletes S3 objects that other steps of the same execution have written.

Nothing else is deleted: an object must be below the output path of a job that the named step has
run in this execution, and not be older than the job. If other jobs write there, too, it must not be
newer than the end of the job. AWS's page on Cleanup steps allows whole folders only for types whose
jobs write to a separate one, such as Training; the objects of other steps are listed in ``S3Uris``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

PERMISSIONS = (
    (("s3:DeleteObject", "s3:GetObject"), "arn:aws:s3:::my-pipeline-bucket/*"),
    (("s3:ListBucket",), "arn:aws:s3:::my-pipeline-bucket"),
)
"""The IAM actions that the caller needs, and their resource, next to those of the other steps."""


_LATE = timedelta(minutes=1)
"""How long after the end of its job an object may be shown as written."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where a job has written.

    Args:
        folders: S3 URIs of folders that only this job writes to.
        outputs: S3 URIs of its outputs, below which other jobs may have written, too.
        since: when the job was created.
        until: when it ended.
    """

    folders: tuple[str, ...]
    outputs: tuple[str, ...]
    since: datetime
    until: datetime


def clean(client: Any, jobs: Sequence[Written], uris: Sequence[str] | None) -> list[str]:
    """Deletes objects of one step; returns the problems, one line each.

    Without ``uris`` these are all objects in the folders of its jobs. May be repeated.
    """
    if uris is not None:
        return [text for uri in uris if (text := _delete_one(client, jobs, uri)) is not None]
    problems = []
    for job in jobs:
        if not job.folders:
            problems.append("S3Uris are missing: its jobs share their folders with others")
        for folder in job.folders:
            bucket, base = _split(folder)
            if not base:
                problems.append(f"{folder} is a whole bucket")
                continue
            for key in _keys(client, bucket, f"{base}/", job.since):
                client.delete_object(Bucket=bucket, Key=key)
    return list(dict.fromkeys(problems))


def _delete_one(client: Any, jobs: Sequence[Written], uri: str) -> str | None:
    """Deletes the object at a URI; returns the reason if it may not be deleted."""
    from botocore.exceptions import ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    parts = key.split("/")
    if not uri.startswith("s3://") or not key or parts[-1] == "" or {".", ".."} & set(parts):
        return f"{uri} is not the S3 URI of an object"
    owners = [job for job in jobs if any(_is_below(uri, one) for one in _places(job))]
    if not owners:
        places = dict.fromkeys(place for job in jobs for place in _places(job))
        return f"{uri} is not below an output of the step ({', '.join(places) or 'it has none'})"
    try:
        changed = client.head_object(Bucket=bucket, Key=key)["LastModified"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return None  # deleted before
        raise
    if all(changed < _second(job.since) for job in owners):
        return f"{uri} is older than the job of the step"
    if not any(_second(job.since) <= changed <= _latest(job, uri) for job in owners):
        return f"{uri} was written after the job of the step, so by another one"
    client.delete_object(Bucket=bucket, Key=key)
    return None


def _keys(client: Any, bucket: str, prefix: str, since: datetime) -> Iterator[str]:
    """The keys of the objects below a prefix that are not older than a job."""
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = client.list_objects_v2(**request)
        for one in page.get("Contents", ()):
            if one["LastModified"] >= _second(since):
                yield one["Key"]
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _latest(job: Written, uri: str) -> datetime:
    """The latest time at which a job may have written an object."""
    own = any(_is_below(uri, folder) for folder in job.folders)
    return datetime.max.replace(tzinfo=UTC) if own else job.until + _LATE


def _places(job: Written) -> tuple[str, ...]:
    return (*job.folders, *job.outputs)


def _is_below(uri: str, folder: str) -> bool:
    bucket, base = _split(folder)
    return uri.startswith(f"s3://{bucket}/{base}/" if base else f"s3://{bucket}/")


def _split(uri: str) -> tuple[str, str]:
    """Bucket and key of a folder, without the slash at the end."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def _second(moment: datetime) -> datetime:
    """A time as S3 has it, without fractions of a second."""
    return moment.replace(microsecond=0)


def sources(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str] | None]]:
    """The names of the steps to clean up in resolved arguments, with their ``S3Uris``.

    Raises ValueError for arguments of another form.
    """
    resources = arguments.get("Resources")
    rows = resources.get("S3") if isinstance(resources, Mapping) else None
    for row in rows if isinstance(rows, list) else [None]:
        name = row.get("StepName") if isinstance(row, Mapping) else None
        uris = row.get("S3Uris") if isinstance(row, Mapping) else None
        is_list = isinstance(uris, list) and all(isinstance(one, str) for one in uris)
        if not isinstance(name, str) or not (uris is None or is_list):
            expected = "expected objects with StepName and perhaps a list S3Uris"
            raise ValueError(f"Resources.S3: {expected}, got {rows if row is None else row!r}")
        yield name, uris
