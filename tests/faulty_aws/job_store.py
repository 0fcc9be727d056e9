"""What the fakes of services other than SageMaker share: jobs with a script, and their names."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.faulty_aws.job_scripts import TERMINAL, JobScript, Walk
from tests.faulty_aws.protocol import AwsError, Call


@dataclass(slots=True)
class StoredJob:
    """A job; ``owner`` is its cluster or application."""

    kind: str
    name: str
    owner: str
    body: dict[str, Any]
    script: JobScript
    walk: Walk
    created: float
    created_epoch: float
    stopped: Walk | None = None

    @property
    def current(self) -> Walk:
        return self.stopped or self.walk

    @property
    def status(self) -> str:
        """The status that the last description showed."""
        return self.current.look(counts=False)

    def stop(self) -> None:
        """Begins to stop it, unless it has ended."""
        if self.stopped is None and self.status not in TERMINAL:
            self.stopped = self.script.stop_walk()

    @property
    def reason(self) -> str:
        """The script's reason for a failure; empty while the job runs."""
        members = self.script.members if self.current.at_last else {}
        return str(members.get("FailureReason") or members.get("stateDetails") or "")


class JobService(ABC):
    """One fake service. Thread-safe."""

    missing: tuple[str, str]
    """The code and message when a job does not exist."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: list[StoredJob] = []
        self._scripts: list[JobScript] = []

    def answer(self, call: Call) -> Any:
        """The members of the answer. Raises AwsError."""
        with self._lock:
            return self._answer(call)

    @abstractmethod
    def _answer(self, call: Call) -> Any: ...

    def unknown(self, call: Call) -> AwsError:
        text = f"The fake {call.service} does not have {call.operation}."
        return AwsError("UnknownOperationException", text)

    def add_scripts(self, *scripts: JobScript) -> None:
        with self._lock:
            self._scripts += scripts

    def clear_scripts(self) -> None:
        with self._lock:
            self._scripts.clear()

    def clear(self) -> None:
        with self._lock:
            self._jobs.clear()
            self._scripts.clear()

    def add(self, kind: str, name: str, body: dict[str, Any], owner: str = "") -> StoredJob:
        found = (one for one in reversed(self._scripts) if one.matches(kind, name))
        script = next(found, JobScript())
        times = time.monotonic(), time.time()
        job = StoredJob(kind, name, owner, body, script, script.walk(), *times)
        self._jobs.append(job)
        return job

    def jobs(self, kind: str = "*", owner: str = "*") -> Iterable[StoredJob]:
        """The jobs of a kind and owner, oldest first."""
        return [
            one
            for one in self._jobs
            if fnmatchcase(one.kind, kind) and fnmatchcase(one.owner, owner)
        ]

    def job(self, name: str) -> StoredJob:
        """Raises AwsError if there is none."""
        for one in self._jobs:
            if one.name == name:
                return one
        raise self.not_found()

    def not_found(self, call: Call | None = None) -> AwsError:
        del call
        return AwsError(*self.missing)

    def created(self, call: Call) -> float | None:
        """When the job that a call describes or stops was created (monotonic), if it was."""
        with self._lock:
            found = (one.created for one in self._jobs if one.name == call.name)
            return next(found, None)

    def names(self, kind: str, name: str) -> list[str]:
        """The names of jobs that match these globs, oldest first."""
        with self._lock:
            return [one.name for one in self.jobs(kind) if fnmatchcase(one.name, name)]
