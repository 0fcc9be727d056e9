"""The backend, folders and records of an execution."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sagebridge.errors import MissingExtra
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge_operators.backends import open_backend, records_at, variables, why_not_on
from sagebridge_operators.backends.lambda_functions import (
    LAMBDAS,
    as_variable,
    parse_lambdas,
)
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.private_folders import make_private, restrict
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import WorkdirUnusable
from sagebridge_operators.steps import JOB_TYPES

_PARTS = ("s3", "jobs", "executions", "airflow", "prefect")


@dataclass(frozen=True)
class Workdir:
    """``home`` is the working folder; relative paths start from ``base``.

    ``lambdas`` are the handlers of Lambda functions, in the form of SAGEBRIDGE_LAMBDAS.
    """

    backend_name: str
    home: Path
    base: Path
    location: str
    lambdas: str = ""

    @classmethod
    def of(cls, workdir: Path, backend: str, lambdas: Sequence[str] | None = None) -> Workdir:
        """Records are kept in the working folder, or in SAGEBRIDGE_RECORDS if set.

        ``lambdas`` are handlers in addition to those of SAGEBRIDGE_LAMBDAS. Raises UsageError for
        an invalid one.
        """
        home = workdir.absolute()
        location = os.environ.get("SAGEBRIDGE_RECORDS") or str(home / "executions")
        handlers = os.environ.get(LAMBDAS, "")
        if lambdas is not None:
            every = parse_lambdas(",".join(filter(None, (handlers, *lambdas))), Path.cwd())
            for one in every.values():
                one.check()
            handlers = as_variable(every)
        return cls(backend, home, Path.cwd(), location, handlers)

    def for_execution(self, record: Mapping[str, Any]) -> Workdir:
        """The working folder of a recorded execution, which may differ in backend and folder."""
        home = Path(record.get("home") or self.home)
        return Workdir(
            str(record["backend"]),
            home if home.is_dir() else self.home,
            Path(record.get("base") or self.base),
            self.location,
            str(record.get("lambdas", self.lambdas)),
        )

    @cached_property
    def backend(self) -> Backend:
        if find_spec("boto3") is None:
            extra = "aws" if self.backend_name == "aws" else "local"
            raise MissingExtra(f"the backend {self.backend_name!r}", extra)
        if self.backend_name == "local":
            from sagebridge_operators.backends.local import LocalBackend

            return LocalBackend(self.home, self.base)
        return open_backend(self.backend_name)

    @cached_property
    def records(self) -> ExecutionRecords:
        return records_at(self.location, self.backend)

    @property
    def look_seconds(self) -> float:
        """Seconds between reads of the records while an execution runs."""
        return 3.0 if self.location.startswith("s3://") else 0.5

    def variables(self) -> dict[str, str]:
        """Environment variables that pass this working folder to operators in other processes."""
        return {
            "SAGEBRIDGE_BACKEND": self.backend_name,
            "SAGEBRIDGE_HOME": str(self.home),
            "SAGEBRIDGE_BASE": str(self.base),
            "SAGEBRIDGE_RECORDS": self.location,
            LAMBDAS: self.lambdas,
        }

    def why_not_here(
        self, step: Step, pipeline: Pipeline, *, flow_file: bool = False
    ) -> list[tuple[str, str]]:
        """The reasons why this machine cannot run a step, if it is the backend.

        A ``flow_file`` may register Lambda handlers, which only its own process knows.
        """
        if flow_file and step.type == "Lambda":
            return []
        with variables(self.variables()):
            return why_not_on(self.backend_name, step, pipeline)

    def record_fields(self) -> dict[str, str]:
        """The fields of an execution record for this working folder."""
        where = {"home": str(self.home), "base": str(self.base)}
        where |= {"lambdas": self.lambdas} if self.lambdas else {}
        return {"backend": self.backend_name} | (where if self.backend_name == "local" else {})

    def check_writable(self) -> None:
        """Raise WorkdirUnusable unless engines, local backend and records can write here.

        The working folder is made private: records, environments of jobs and logs may have secrets.
        Subfolders are checked too: after a run in a container they may belong to another user.
        """
        path = self.home
        try:
            make_private(path)
            restrict(path)
            for path in (self.home, *(self.home / part for part in _PARTS)):
                if path == self.home or os.path.lexists(path):
                    with tempfile.NamedTemporaryFile(dir=path, prefix=".") as probe:
                        probe.write(bytes(4096))
        except OSError as error:
            other = os.path.lexists(path) and not path.is_dir()
            problem = "not a folder" if other else error.strerror or str(error)
            raise WorkdirUnusable(str(self.home), str(path), problem) from error

    def check_isolation(self, pipeline: Pipeline) -> None:
        """Raise IsolationError if jobs of the pipeline cannot get their own /opt/ml here."""
        jobs = (step for step in walk(pipeline) if step.type in JOB_TYPES)
        if self.backend_name == "local" and any(JOB_TYPES[step.type].stop for step in jobs):
            from sagebridge_operators.backends.local.isolation import choose

            choose(self.home)

    def path_of(self, uri: str) -> Path | None:
        """The local path of an object or prefix; None if it is not stored locally."""
        if self.backend_name != "local":
            return None
        from sagebridge_operators.backends.local.store import FolderStore

        return FolderStore(self.home / "s3", self.base).path_of(uri)

    def call_of(self, endpoint: str) -> str:
        """A command that calls an endpoint of this machine; empty for one on AWS."""
        if self.backend_name != "local":
            return ""
        from sagebridge_operators.backends.local.endpoint_server import curl_command

        return curl_command(self.home, endpoint)
