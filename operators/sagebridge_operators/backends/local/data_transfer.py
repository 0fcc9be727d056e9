"""Copy data from the store to the /opt/ml of a job, in SageMaker's layout."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from sagebridge_operators.backends.local.os_errors import describe
from sagebridge_operators.backends.local.store import Check, open_regular
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed
from sagebridge_operators.run_errors import ObjectNotFound

_LISTED = 10
_SHOWN = 80
"""Characters of a member's name in messages."""


def fetch_source(job: Job, name: str, source: Mapping[str, Any], target: Path) -> list[Path]:
    """Copy the objects of an S3DataSource or S3Input to ``target``. Returns the files by key.

    ``name`` is the name of the input or channel, for messages.

    Raises:
        JobFailed: there is no object, or the S3DataType is not supported.
    """
    kind = source.get("S3DataType", "S3Prefix")
    if kind == "S3Prefix":
        return fetch_prefix(job, name, source["S3Uri"], target)
    if kind == "ManifestFile":
        return _fetch_manifest(job, name, source["S3Uri"], target)
    raise JobFailed(
        f"ClientError: input {name!r}: the local backend does not support S3DataType {kind}"
    )


def fetch_prefix(job: Job, name: str, prefix: str, target: Path) -> list[Path]:
    """Copy every object whose URI starts with ``prefix``; an exact match keeps its file name."""
    skipped: list[Path] = []
    listed = job.store.list(prefix, skipped)
    found = [object_ for object_ in listed if not object_.uri.endswith("/")]
    if skipped:
        job.note(f"input {name!r}: left out, as they are not regular files: {listing(skipped)}")
    if not found:
        how = f" with --upload {quote(f'FILE={prefix}')}" if prefix.startswith("s3://") else ""
        raise JobFailed(
            f"ClientError: no objects under {prefix}, the source of input {name!r} "
            f"(expected in {job.store.path_of(prefix)}); put the data there{how}"
        )
    named = [(object_.uri, _relative(object_.uri, prefix)) for object_ in found]
    return _fetch(job, named, target)


def _fetch_manifest(job: Job, name: str, uri: str, target: Path) -> list[Path]:
    try:
        entries = json.loads(job.store.read(uri))
        prefix = entries[0]["prefix"]
        objects = [(prefix + entry, str(entry)) for entry in entries[1:]]
    except (ValueError, LookupError, TypeError) as error:
        raise JobFailed(
            f"ClientError: input {name!r}: {uri} is not a manifest (expected a JSON list of "
            f'{{"prefix": URI}} and keys): {error!r}'
        ) from error
    return _fetch(job, objects, target)


def _fetch(job: Job, objects: Iterable[tuple[str, str]], target: Path) -> list[Path]:
    root = target.resolve()
    files = []
    for uri, relative in objects:
        job.check_stop()
        file = (root / relative).resolve()
        if not file.is_relative_to(root):
            raise JobFailed(f"ClientError: {uri}: its key points outside the folder of the job")
        try:
            job.store.fetch(uri, file, job.check_stop)
        except ObjectNotFound as error:
            raise JobFailed(f"ClientError: {error}") from error
        files.append(file)
    return files


def _relative(uri: str, prefix: str) -> str:
    whole = prefix.endswith("/") or uri.startswith(f"{prefix}/")
    return uri[len(prefix if whole else prefix.rpartition("/")[0]) :].lstrip("/")


def gunzip(job: Job, files: Iterable[Path]) -> list[Path]:
    """Decompress files in place and remove the suffix ``.gz``."""
    plain = []
    for file in files:
        target = file.with_suffix("") if file.suffix == ".gz" else file
        scratch = file.with_name(f"{file.name}.plain")
        try:
            with open_regular(file, job.check_stop) as packed, scratch.open("wb") as content:
                shutil.copyfileobj(gzip.GzipFile(fileobj=packed), content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise JobFailed(f"ClientError: {file.name} is not valid gzip data: {error}") from error
        file.unlink()
        plain.append(scratch.replace(target))
    return plain


def fetch_package(job: Job, uri: str, target: Path, what: str) -> None:
    """Unpack the tar.gz at ``uri`` to ``target``; a local folder is copied as it is.

    Args:
        job: the job.
        uri: ``s3://`` or ``file://`` URI, or a path.
        target: the folder for the files.
        what: a name for messages, such as ``source``.

    Raises:
        JobFailed: there is nothing at ``uri``, or it cannot be unpacked.
    """
    path = job.store.path_of(uri)
    if not uri.startswith("s3://") and path.is_dir():
        fetch_prefix(job, what, f"{path}/", target)
        return
    if not job.store.exists(uri):
        expected = "the file" if uri.startswith("s3://") else "a folder or tar.gz:"
        raise JobFailed(f"ClientError: no {what} at {uri}; expected {expected} {path}")
    archive = job.tmp / "package.tar.gz"
    job.store.fetch(uri, archive, job.check_stop)
    extract(archive, target, uri, job.check_stop)
    archive.unlink()


def listing(paths: Sequence[object]) -> str:
    """Some paths, for messages."""
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(map(str, paths[:_LISTED])) + more


def extract(archive: Path, target: Path, uri: str, check: Check = lambda: None) -> None:
    """Unpack an untrusted tar archive.

    Args:
        archive: the file.
        target: the folder for its members.
        uri: the source of the archive, for messages.
        check: called before each read; an exception ends the work.

    Raises:
        JobFailed: it is not an archive, or a member is outside ``target``, is not a plain file, or
            cannot be written.
    """
    root = target.resolve()
    root.mkdir(parents=True, exist_ok=True)
    # Extraction filters came with Python 3.11.4 (docs: tarfile, "Extraction filters").
    one = _extract_filtered if hasattr(tarfile, "data_filter") else _extract_checked
    name = ""
    try:
        with open_regular(archive, check) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                name = repr(member.name)
                if len(name) > _SHOWN:
                    name = f"{member.name[:_SHOWN]!r}... ({len(member.name)} characters)"
                one(tar, member, root)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise JobFailed(f"ClientError: {uri} cannot be unpacked: {error}") from error
    except OSError as error:
        raise JobFailed(f"ClientError: {uri}: cannot unpack {name}: {describe(error)}") from error


def _extract_filtered(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    tar.extract(member, root, filter="data")


def _extract_checked(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    inside = (root / member.name).resolve().is_relative_to(root)
    if not inside or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"unsafe member {member.name!r}")
    member.mode = (member.mode or 0) & 0o755 | 0o600
    tar.extract(member, root, set_attrs=member.isfile())
