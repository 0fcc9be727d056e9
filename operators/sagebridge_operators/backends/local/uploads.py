"""Copy the outputs of a job to the store: regular files, and links inside the job's folder."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.data_transfer import listing
from sagebridge_operators.backends.local.os_errors import describe
from sagebridge_operators.backends.local.store import open_regular
from sagebridge_operators.backends.local.supervised_job import (
    CONTAINER_ROOT,
    Job,
    JobFailed,
    JobStopped,
    Outcome,
)

_LINKS = 40
"""The kernel's limit for symbolic links in one path (path_resolution(7))."""


def upload(
    job: Job, fields: dict[str, Any], what: str, work: Callable[[], object]
) -> Outcome | None:
    """Run ``work``, which uploads outputs. Returns the outcome of the job if it cannot finish.

    Args:
        job: the job.
        fields: the fields of the outcome; a FailureReason in it is kept.
        what: the outputs, for messages.
        work: may raise SagebridgeError and OSError.
    """
    try:
        work()
    except JobStopped:
        job.note(f"stopped before {what} was uploaded completely")
        return Outcome("Stopped", fields)
    except (SagebridgeError, OSError) as error:
        found = describe(error) if isinstance(error, OSError) else error
        problem = f"ClientError: {what} could not be uploaded: {found}"
        if fields.setdefault("FailureReason", problem) != problem:
            job.note(problem)
        return Outcome("Failed", fields)
    return None


def upload_tree(job: Job, folder: Path, uri: str) -> None:
    """Copy the files in a folder to the store."""
    for name, path in _entries(job, folder):
        if path.is_file():
            job.store.put(path, f"{uri.rstrip('/')}/{name}", job.check_upload)


def upload_archive(job: Job, folder: Path, uri: str) -> None:
    """Store the content of a folder as one tar.gz."""
    archive = job.tmp / "archive.tar.gz"
    # dereference: otherwise the second of two hard links has no content.
    with tarfile.open(archive, "w:gz", dereference=True) as tar:
        for name, path in _entries(job, folder):
            member = tar.gettarinfo(path, name)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if path.is_dir():
                tar.addfile(member)
            else:
                with open_regular(path, job.check_upload) as content:
                    tar.addfile(member, content)
    job.store.put(archive, uri, job.check_upload)
    archive.unlink()


def _entries(job: Job, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files and folders in a folder, sorted: names in the output, and paths without links."""
    skipped: list[str] = []
    root = resolve(job, folder)
    if _is_inside(job, root):
        yield from _walk(job, root, "", (root,), skipped)
    else:
        skipped.append(folder.name)
    if skipped:
        job.note(
            "left out of the outputs, as they are not regular files, or links to something outside "
            f"the job's folder: {listing(skipped)}"
        )


def _walk(
    job: Job, folder: Path, prefix: str, above: tuple[Path, ...], skipped: list[str]
) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = f"{prefix}{entry.name}"
        path = resolve(job, entry)
        if path in above:
            raise JobFailed(f"ClientError: {name} is a circular link")
        if _is_inside(job, path) and path.is_dir():
            yield name, path
            yield from _walk(job, path, f"{name}/", (*above, path), skipped)
        elif _is_inside(job, path) and path.is_file():
            yield name, path
        else:
            skipped.append(name)


def _is_inside(job: Job, path: Path) -> bool:
    return any(path.is_relative_to(part.resolve()) for part in (job.ml, job.cwd, job.tmp))


def resolve(job: Job, path: Path) -> Path:
    """The file that a path of this machine leads to, with links as the job sees them.

    Raises:
        JobFailed: the path is a circular link.
    """
    ml, container = job.ml.resolve(), Path(CONTAINER_ROOT)
    waiting = list(reversed(path.parts))
    current = Path("/")
    links = 0
    while waiting:
        part = waiting.pop()
        step = current / part
        if part == "..":
            step = (container if current == ml else current).parent
        if step == container:
            step = ml
        if not step.is_symlink():
            current = step
            continue
        links += 1
        if links > _LINKS:
            raise JobFailed(f"ClientError: {path.name} is a circular link")
        waiting += reversed(PurePosixPath(step.readlink()).parts)
    return current
