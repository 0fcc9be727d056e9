"""The backends that run jobs: ``aws`` (boto3), and ``local`` (this machine, without Docker)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sagebridge.authoring.declared_names import suggestion
from sagebridge.authoring.runnable import why_not_local
from sagebridge.errors import UsageError
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.lifecycle.backend import NAMES, Backend
from sagebridge_operators.lifecycle.objects import open_objects
from sagebridge_operators.lifecycle.private_folders import restrict
from sagebridge_operators.lifecycle.records import ExecutionRecords

RESUMED = "SAGEBRIDGE_RESUMED"
"""Environment variable of a process that continues the work of a killed one."""
MAX_PARALLEL = "SAGEBRIDGE_MAX_PARALLEL"
"""Environment variable of a flow's process that limits its parallel steps."""
_VARIABLES: ContextVar[Mapping[str, str]] = ContextVar("sagebridge_variables", default=os.environ)


@contextmanager
def variables(more: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the code in the ``with`` block, in this context only."""
    token = _VARIABLES.set({**_VARIABLES.get(), **more})
    try:
        yield
    finally:
        _VARIABLES.reset(token)


def _variable(name: str, default: str) -> str:
    return _VARIABLES.get().get(name, default)


def resumed() -> bool:
    """Whether this process continues the work of a killed one."""
    return bool(_variable(RESUMED, ""))


def max_parallel() -> int | None:
    """The limit of parallel steps with which this process was started."""
    given = _variable(MAX_PARALLEL, "")
    return int(given) if given else None


def default_name() -> str:
    """The backend in SAGEBRIDGE_BACKEND; default: aws."""
    return _variable("SAGEBRIDGE_BACKEND", "aws")


def home() -> Path:
    """The folder of the local backend: SAGEBRIDGE_HOME; default: ``.sagebridge``."""
    return Path(_variable("SAGEBRIDGE_HOME", ".sagebridge")).absolute()


def base() -> Path:
    """The folder for relative paths in requests: SAGEBRIDGE_BASE; default: the working folder."""
    return Path(_variable("SAGEBRIDGE_BASE", ".")).absolute()


def lambdas() -> str:
    """The handlers of Lambda functions of the local backend: SAGEBRIDGE_LAMBDAS; default: none."""
    return _variable("SAGEBRIDGE_LAMBDAS", "")


def why_not_on(backend: str, step: Step, pipeline: Pipeline) -> list[tuple[str, str]]:
    """The reasons why a backend that is this machine cannot run a step, each with its step."""
    from sagebridge_operators.backends.lambda_functions import why_no_handler

    if backend != "local":
        return []
    return [*why_not_local(step, pipeline), *why_no_handler(step)]


def records_location(folder: Path | None = None) -> str:
    """The location of execution records: SAGEBRIDGE_RECORDS; default: in ``folder``, or home()."""
    return _variable("SAGEBRIDGE_RECORDS", str((folder or home()) / "executions"))


def records_credentials() -> str | None:
    """The credentials for records in S3: SAGEBRIDGE_RECORDS_CREDENTIALS, or None if not set.

    It is the id of an Airflow connection or the name of a Prefect AwsCredentials block.
    """
    return _variable("SAGEBRIDGE_RECORDS_CREDENTIALS", "") or None


def open_records(backend: Backend) -> ExecutionRecords:
    """The execution records at :func:`records_location`; ``backend`` is for records in S3.

    It must not depend on a step: all steps of an execution need the same records.
    """
    if Path(records_location()).is_relative_to(home()):
        restrict(home())
    return records_at(records_location(), backend)


def records_at(location: str, backend: Backend) -> ExecutionRecords:
    """The execution records in a folder, or in S3 as ``backend`` reaches it."""
    return ExecutionRecords(open_objects(location, lambda: backend.client("s3"), backend.renew))


def open_backend(name: str | None = None) -> Backend:
    """The backend with this name, with settings and credentials from the environment."""
    name = name or default_name()
    if name == "local":
        from sagebridge_operators.backends.local import LocalBackend

        return LocalBackend(home(), base())
    if name == "aws":
        from sagebridge_operators.backends.aws import AwsBackend

        return AwsBackend()
    raise UsageError(f"unknown backend {name!r}{suggestion(name, NAMES)}")
