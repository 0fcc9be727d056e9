"""Copy data between the store and the /opt/ml of a job, in SageMaker's layout."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.supervised_job import CONTAINER_ROOT, Job, JobFailed
from sagebridge_operators.run_errors import ObjectNotFound

_LINKS = 40
"""The kernel's limit for symbolic links in one path (path_resolution(7))."""


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
    found = [object_ for object_ in job.store.list(prefix) if not object_.uri.endswith("/")]
    if not found:
        how = f" with --upload FILE={prefix}" if prefix.startswith("s3://") else ""
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
            job.store.fetch(uri, file)
        except ObjectNotFound as error:
            raise JobFailed(f"ClientError: {error}") from error
        files.append(file)
    return files


def _relative(uri: str, prefix: str) -> str:
    whole = prefix.endswith("/") or uri.startswith(f"{prefix}/")
    return uri[len(prefix if whole else prefix.rpartition("/")[0]) :].lstrip("/")


def gunzip(files: Iterable[Path]) -> list[Path]:
    """Decompress files in place and remove the suffix ``.gz``."""
    plain = []
    for file in files:
        target = file.with_suffix("") if file.suffix == ".gz" else file
        scratch = file.with_name(f"{file.name}.plain")
        try:
            with gzip.open(file) as packed, scratch.open("wb") as content:
                shutil.copyfileobj(packed, content)
        except (gzip.BadGzipFile, EOFError) as error:
            raise JobFailed(f"ClientError: {file.name} is not valid gzip data: {error}") from error
        file.unlink()
        plain.append(scratch.replace(target))
    return plain


def upload_tree(job: Job, folder: Path, uri: str) -> int:
    """Copy the files in a folder to the store, following links. Returns their number."""
    count = 0
    for path in sorted(_files(folder)):
        job.store.put(_real(job, path), f"{uri.rstrip('/')}/{path.relative_to(folder)}")
        count += 1
    return count


def upload_archive(job: Job, folder: Path, uri: str) -> None:
    """Store the content of a folder as one tar.gz."""

    def mapped(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(job.tmp / "archive.tar.gz", "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name, filter=mapped)
    job.store.put(job.tmp / "archive.tar.gz", uri)
    (job.tmp / "archive.tar.gz").unlink()


def extract(archive: Path, target: Path, uri: str) -> None:
    """Unpack an untrusted tar archive.

    Raises:
        JobFailed: it is not an archive, or a member is outside ``target`` or not a plain file.
    """
    root = target.resolve()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            # Extraction filters came with Python 3.11.4 (docs: tarfile, "Extraction filters").
            if hasattr(tarfile, "data_filter"):
                tar.extractall(root, filter="data")
                return
            for member in tar:
                inside = (root / member.name).resolve().is_relative_to(root)
                if not inside or not (member.isfile() or member.isdir()):
                    raise JobFailed(f"ClientError: {uri}: unsafe member {member.name!r}")
                member.mode = (member.mode or 0) & 0o755 | 0o600
                tar.extract(member, root, set_attrs=member.isfile())
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise JobFailed(f"ClientError: {uri} cannot be unpacked: {error}") from error


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def _real(job: Job, path: Path) -> Path:
    """The file that a path leads to, with links into the job's own /opt/ml."""
    file = path
    for _ in range(_LINKS):
        if not file.is_symlink():
            return file
        target = file.parent / file.readlink()
        inside = target.is_relative_to(CONTAINER_ROOT)
        file = job.ml / target.relative_to(CONTAINER_ROOT) if inside else target
    raise JobFailed(f"ClientError: {path.name} is a circular link")
