"""A job in its supervisor: its request, folder, log and outcome."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge.model.local_differences import notes, refusals
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.local_job_type import local_job_type
from sagebridge_operators.backends.local.os_errors import describe
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.lifecycle import file_locks
from sagebridge_operators.run_errors import RecordsError

TERMINAL = ("Completed", "Failed", "Stopped")
REASON_LENGTH = 1024
CONTAINER_ROOT = PurePosixPath("/opt/ml")
MESSAGE_BYTES = 1 << 16
STOP_POLL_SECONDS = 0.25
GRACE_VARIABLE = "SAGEBRIDGE_STOP_GRACE_SECONDS"
GRACE_SECONDS = 30.0


def stop_grace() -> float:
    """Seconds that a stopped job has to end, and then again to upload its outputs."""
    return float(os.environ.get(GRACE_VARIABLE, GRACE_SECONDS))


def job_folder(home: Path, kind: str, name: str) -> Path:
    """The folder of a job, with ml/ (its /opt/ml), cwd/, tmp/, env/, log and supervisor.log."""
    return home.absolute() / "jobs" / kind / name


def clear(folder: Path) -> None:
    """Remove the working folders of a job, not its logs."""
    for part in ("ml", "cwd", "tmp", "env", "containers"):
        shutil.rmtree(folder / part, ignore_errors=True)


@contextmanager
def hold(
    home: Path, kind: str, name: str, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB
) -> Iterator[int | None]:
    """Hold the lock of a job. Yields its descriptor, or None if another process holds it.

    The creator of a job holds the lock before the record is visible, then the supervisor until it
    ends. A free lock of a running job therefore means that its supervisor has died.
    """
    path = job_folder(home, kind, name) / "supervisor.lock"
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(file_locks.hold(path, how))
        except OSError as error:
            raise RecordsError(str(path), describe(error)) from error
        yield lock


def is_held(home: Path, kind: str, name: str) -> bool:
    """Whether the supervisor of a job runs, or its creator is about to start it."""
    with hold(home, kind, name, fcntl.LOCK_SH | fcntl.LOCK_NB) as free:
        return free is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: a terminal status and more fields of its Describe response."""

    status: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    secondary_status: str = ""
    message: str = ""

    def record(self, body: dict[str, Any], kind: str) -> None:
        """Write the outcome into a Describe response, with FailureReason cut to the API's limit."""
        now = time.time()
        body.update(self.fields)
        if reason := body.get("FailureReason"):
            body["FailureReason"] = shorten(reason)
        job_type = local_job_type(kind)
        body[job_type.status] = self.status
        body[job_type.end_time] = body["LastModifiedTime"] = now
        if job_type.secondary_statuses:
            message = self.message or self.fields.get("FailureReason", "")
            enter(body, self.secondary_status or self.status, shorten(message), now)
            body["SecondaryStatusTransitions"][-1]["EndTime"] = now
            started = body.get(f"{kind}StartTime", now)
            body[f"{kind}TimeInSeconds"] = body["BillableTimeInSeconds"] = max(
                1, round(now - started)
            )


class JobFailed(SagebridgeError):
    """A job failed. The reason starts with a kind of error, such as ``ClientError:``."""

    def __init__(self, reason: str) -> None:
        self.outcome = Outcome("Failed", {"FailureReason": reason})
        super().__init__(reason)


class JobStopped(JobFailed):
    """A stop was requested before the process of the job started, or while files were copied."""

    def __init__(self) -> None:
        super().__init__("stopped before it started")
        self.outcome = Outcome("Stopped")


class Job:
    """One job in its folder. ``request`` is the Describe response at the start of the job."""

    def __init__(self, home: Path, kind: str, name: str, base: Path, records: Records) -> None:
        self.home, self.kind, self.name, self.records = home, kind, name, records
        self.folder = self.root = job_folder(home, kind, name)
        self.store = FolderStore(home / "s3", base)
        self.request: dict[str, Any] = records.get(kind, name) or {}
        self._next_check = self._upload_started = 0.0
        self._make_folders()

    def _make_folders(self) -> None:
        for part in (self.ml, self.cwd, self.tmp):
            part.mkdir(parents=True, exist_ok=True)

    def container(self, name: str) -> Job:
        """One of several containers of this job, with its own /opt/ml and Python environment."""
        one = copy.copy(self)
        one.root = self.folder / "containers" / name
        one._make_folders()
        return one

    @property
    def ml(self) -> Path:
        """The folder that the job sees as /opt/ml."""
        return self.root / "ml"

    @property
    def cwd(self) -> Path:
        return self.root / "cwd"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def environment(self) -> Path:
        """The Python environment of the job."""
        return self.root / "env"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def arn(self) -> str:
        return str(self.request[local_job_type(self.kind).arn])

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    def note(self, line: str) -> None:
        """Add a line from sagebridge to the job's log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"sagebridge: {line}\n")

    def note_differences(self) -> None:
        """Log what this machine does otherwise than AWS for the job.

        Raises:
            JobFailed: it cannot do what the request asks for.
        """
        if refused := list(refusals(self.kind, self.request)):
            raise JobFailed(f"ClientError: not on this machine: {'; '.join(refused)}")
        for line in notes(self.kind, self.request):
            self.note(line)

    def tail(self, lines: int = 8) -> str:
        """The last lines of the log, without those from sagebridge."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode(errors="replace")
        own = (line for line in text.splitlines() if not line.startswith("sagebridge: "))
        return "\n".join([line for line in own if line.strip()][-lines:])

    def message(self, name: str) -> str:
        """The first part of /opt/ml/output/``name``, the job's ``failure`` or ``message`` file."""
        path = self.ml / "output" / name
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(MESSAGE_BYTES).decode(errors="replace")

    def stop_requested(self) -> bool:
        """Whether a stop was requested; False while the records cannot be read."""
        return self._stop_time() is not None

    def _stop_time(self) -> float | None:
        """When a stop was requested, in epoch seconds; 0 if its record or its creator is gone."""
        if not self.records.path.exists():  # with the working folder
            return 0.0
        try:
            body = self.records.get(self.kind, self.name)
            if body is None:
                return 0.0
            owner = body.get("_owner")
            if "_stop" not in body and owner and not is_held(self.home, *owner):
                return 0.0
        except RecordsError:
            return None
        return body.get("_stop")

    def check_stop(self) -> None:
        """Raise JobStopped if a stop was requested; reads the record a few times per second."""
        if self._is_time() and self.stop_requested():
            raise JobStopped

    def check_upload(self) -> None:
        """Raise JobStopped once the grace period of a stop is over; uploads continue until then."""
        self._upload_started = self._upload_started or time.time()
        if not self._is_time() or (stop := self._stop_time()) is None:
            return
        if time.time() - max(stop, self._upload_started) > stop_grace():
            raise JobStopped

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + STOP_POLL_SECONDS
        return True

    def enter(self, status: str, message: str = "") -> None:
        """Record the progress of the job, as its SecondaryStatus if the API has one."""
        now, secondary = time.time(), local_job_type(self.kind).secondary_statuses

        def change(body: dict[str, Any]) -> None:
            body["LastModifiedTime"] = now
            if status == self.kind or not secondary:
                body.setdefault(f"{self.kind}StartTime", now)
            if secondary:
                enter(body, status, message, now)

        self.records.update(self.kind, self.name, change)

    def host_path(self, path: str) -> Path:
        """The file on this machine for a path under /opt/ml.

        Raises:
            JobFailed: the path is not under /opt/ml.
        """
        inside = PurePosixPath(os.path.normpath(path))
        if not inside.is_relative_to(CONTAINER_ROOT):
            raise JobFailed(
                f"ClientError: {path} is not under {CONTAINER_ROOT}, the only private folder of a "
                "local job"
            )
        return self.ml / inside.relative_to(CONTAINER_ROOT)

    def write_config(self, path: str, value: object) -> None:
        """Write a JSON file under /opt/ml, as SageMaker does for its containers."""
        target = self.host_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value, indent=2), encoding="utf-8")


def enter(body: dict[str, Any], status: str, message: str, now: float) -> None:
    """Add a SecondaryStatusTransition to a Describe response."""
    transitions = body.setdefault("SecondaryStatusTransitions", [])
    if transitions and "EndTime" not in transitions[-1]:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
    body["SecondaryStatus"] = status


def shorten(reason: str) -> str:
    """A reason cut in the middle to the API's limit of 1024 characters."""
    if len(reason) <= REASON_LENGTH:
        return reason
    half = REASON_LENGTH // 2 - 3
    return f"{reason[:half]} ... {reason[-half:]}"


def image_parts(image: str) -> tuple[str, str]:
    """The repository name and the tag of an image URI."""
    name, _, tag = re.sub(r"@sha256:.*$", "", image).rpartition("/")[2].partition(":")
    return name, tag
