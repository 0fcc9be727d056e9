"""A job as its supervisor sees it: the request, its folder, its log and its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.local_job_type import local_job_type
from sagebridge_operators.backends.local.store import FolderStore

TERMINAL = ("Completed", "Failed", "Stopped")
REASON_LENGTH = 1024
CONTAINER_ROOT = PurePosixPath("/opt/ml")


def job_folder(home: Path, kind: str, name: str) -> Path:
    """Where a job's own files lie: ml/ (its /opt/ml), cwd/, tmp/, log, supervisor.log."""
    return home.absolute() / "jobs" / kind / name


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: a terminal status and further members of its Describe response."""

    status: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    secondary_status: str = ""
    message: str = ""

    def record(self, body: dict[str, Any], kind: str) -> None:
        """Write the end into a Describe response; FailureReason is cut as the service cuts it."""
        now = time.time()
        body.update(self.fields)
        if reason := body.get("FailureReason"):
            body["FailureReason"] = shorten(reason)
        body[f"{kind}JobStatus"] = self.status
        body[f"{kind}EndTime"] = body["LastModifiedTime"] = now
        if local_job_type(kind).secondary_statuses:
            message = self.message or self.fields.get("FailureReason", "")
            enter(body, self.secondary_status or self.status, shorten(message), now)
            body["SecondaryStatusTransitions"][-1]["EndTime"] = now
            started = body.get(f"{kind}StartTime", now)
            body[f"{kind}TimeInSeconds"] = body["BillableTimeInSeconds"] = max(
                1, round(now - started)
            )


class JobFailed(SagebridgeError):
    """A job that cannot go on; the reason starts with ClientError, AlgorithmError or the like."""

    def __init__(self, reason: str) -> None:
        self.outcome = Outcome("Failed", {"FailureReason": reason})
        super().__init__(reason)


class JobStopped(JobFailed):
    """A job that was asked to stop before its process ran."""

    def __init__(self) -> None:
        super().__init__("stopped before it started")
        self.outcome = Outcome("Stopped")


class Job:
    """One job in its folder. ``request`` is the Describe response as it was when the job began."""

    def __init__(self, home: Path, kind: str, name: str, base: Path, records: Records) -> None:
        self.home, self.kind, self.name, self.records = home, kind, name, records
        self.folder = job_folder(home, kind, name)
        self.store = FolderStore(home / "s3", base)
        self.request: dict[str, Any] = records.get(kind, name) or {}
        for part in (self.ml, self.cwd, self.tmp):
            part.mkdir(parents=True, exist_ok=True)

    @property
    def ml(self) -> Path:
        """What the job sees as /opt/ml."""
        return self.folder / "ml"

    @property
    def cwd(self) -> Path:
        return self.folder / "cwd"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def arn(self) -> str:
        return str(self.request[f"{self.kind}JobArn"])

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    def note(self, line: str) -> None:
        """Add a line of ours to the job's log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"sagebridge: {line}\n")

    def tail(self, lines: int = 8) -> str:
        """The last lines that the job itself logged."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode(errors="replace")
        own = (line for line in text.splitlines() if not line.startswith("sagebridge: "))
        return "\n".join([line for line in own if line.strip()][-lines:])

    def message(self, name: str) -> str:
        """What the job wrote to /opt/ml/output/failure or /opt/ml/output/message."""
        path = self.ml / "output" / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def clear(self) -> None:
        """Remove the copies of data that the store has, once the job has completed."""
        for part in (self.ml, self.cwd, self.tmp):
            shutil.rmtree(part, ignore_errors=True)

    def stop_requested(self) -> bool:
        body = self.records.get(self.kind, self.name)
        return body is None or "_stop" in body

    def check_stop(self) -> None:
        """Raise JobStopped when somebody has asked for that."""
        if self.stop_requested():
            raise JobStopped

    def enter(self, status: str, message: str = "") -> None:
        """Record that work on the job has come so far, as its SecondaryStatus if it has one."""
        now, secondary = time.time(), local_job_type(self.kind).secondary_statuses

        def change(body: dict[str, Any]) -> None:
            body["LastModifiedTime"] = now
            if status == self.kind or not secondary:
                body.setdefault(f"{self.kind}StartTime", now)
            if secondary:
                enter(body, status, message, now)

        self.records.update(self.kind, self.name, change)

    def place(self, path: str) -> Path:
        """The file of this machine behind a path under /opt/ml.

        Raises:
            JobFailed: the path is elsewhere, where a job has no folder of its own.
        """
        inside = PurePosixPath(os.path.normpath(path))
        if not inside.is_relative_to(CONTAINER_ROOT):
            raise JobFailed(
                f"ClientError: {path} is not under {CONTAINER_ROOT}, the only folder that a local "
                "job has for itself"
            )
        return self.ml / inside.relative_to(CONTAINER_ROOT)

    def write_config(self, path: str, value: object) -> None:
        """A JSON file under /opt/ml, such as SageMaker writes for its containers."""
        target = self.place(path)
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
    """A reason within the service's 1024 characters: its middle goes, not its ends."""
    if len(reason) <= REASON_LENGTH:
        return reason
    half = REASON_LENGTH // 2 - 3
    return f"{reason[:half]} ... {reason[-half:]}"


def image_parts(image: str) -> tuple[str, str]:
    """The repository name and the tag of an image URI."""
    name, _, tag = re.sub(r"@sha256:.*$", "", image).rpartition("/")[2].partition(":")
    return name, tag
