"""What can go wrong while steps run; the messages are built here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from sagebridge.errors import SagebridgeError, ServiceError

FinalState = Literal["Succeeded", "Failed", "Stopped"]
FailureKind = Literal[
    "code",
    "fail-step",
    "job",
    "lost-worker",
    "not-runnable",
    "outputs",
    "request",
    "service",
    "stopped",
    "time-limit",
    "unresolvable",
]
"""What ended an attempt, for records and for retry policies."""


class InvalidPipeline(SagebridgeError):
    """A pipeline with errors, found before its first job; ``errors`` has one line each."""

    def __init__(self, pipeline: str, errors: Sequence[str]) -> None:
        self.pipeline, self.errors = pipeline, tuple(errors)
        listed = "; ".join(self.errors)
        super().__init__(f"pipeline {pipeline!r} was not started, as it has errors: {listed}")

    def __reduce__(self) -> tuple[type[InvalidPipeline], tuple[str, tuple[str, ...]]]:
        return type(self), (self.pipeline, self.errors)


class StepFailed(SagebridgeError):
    """A step that ended Failed; its text is the reason.

    ``kind`` is the kind of the failure and ``code`` AWS's error code, as its record has them.
    """

    exit_code = 3
    state: ClassVar[FinalState] = "Failed"
    kind: FailureKind = "job"
    code = ""

    def __init__(self, text: str, *, kind: FailureKind | None = None, code: str = "") -> None:
        self.kind, self.code = kind or type(self).kind, code
        super().__init__(text)


class StepStopped(StepFailed):
    """A step whose job was stopped, which is not success."""

    state = "Stopped"
    kind = "stopped"


class ExecutionStopped(StepStopped):
    """A step that was to begin in an execution that had been stopped."""

    def __init__(self) -> None:
        super().__init__(
            "the execution was stopped before this step began, and does not go on: start a new run"
        )

    def __reduce__(self) -> tuple[type[ExecutionStopped], tuple[()]]:
        return type(self), ()


class NotRunnable(StepFailed):
    """Something that sagebridge keeps and translates but does not run."""

    kind = "not-runnable"

    def __init__(self, what: str) -> None:
        super().__init__(f"sagebridge cannot run {what}")


class IncomparableValues(StepFailed):
    """Two values of a condition that have no common type."""

    kind = "unresolvable"

    def __init__(self, type_: str, left: Any, right: Any) -> None:
        super().__init__(
            f"condition {type_} cannot compare {describe_value(left)} with {describe_value(right)}"
        )


class Unresolvable(StepFailed):
    """An expression that has no value at run time."""

    kind = "unresolvable"

    def __init__(self, expression: str, problem: str, there: Sequence[str] = ()) -> None:
        found = f" (there is: {', '.join(there)})" if there else ""
        super().__init__(f"{expression} has no value: {problem}{found}")


class OutputsTooLarge(StepFailed):
    """Referred outputs that no engine should carry between tasks."""

    kind = "outputs"

    def __init__(self, step: str, size: int, limit: int) -> None:
        super().__init__(
            f"the outputs of step {step!r} that this pipeline refers to take {size} bytes; "
            f"at most {limit} can be handed on: refer to an S3 URI instead"
        )


class ExecutionFailed(SagebridgeError):
    """A pipeline execution that did not succeed."""

    exit_code = 3


class FileKept(SagebridgeError):
    """A file that a command would write, and that a person may have edited."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is not what its source gives, so it is kept: deploy it as it is, or replace "
            "it with --overwrite"
        )


class NoPrefectServer(ServiceError):
    """No Prefect server is named, or the one that is does not answer."""

    def __init__(self, url: str | None, problem: str = "") -> None:
        self.url, self.problem = url, problem
        found = f"no Prefect server answers at {url} ({problem})" if url else "no Prefect server"
        super().__init__(
            f"{found}: start one (prefect server start) and set PREFECT_API_URL, or the profile's "
            "(prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api)"
        )

    def __reduce__(self) -> tuple[type[NoPrefectServer], tuple[str | None, str]]:
        return type(self), (self.url, self.problem)


class UnknownExecution(SagebridgeError):
    """No execution of that id in the records."""

    exit_code = 2

    def __init__(self, execution_id: str, known: Sequence[str], where: str) -> None:
        newest = f" (newest: {', '.join(known[:5])})" if known else " (there are none)"
        super().__init__(f"no execution {execution_id!r} in {where}{newest}")


class AmbiguousExecution(SagebridgeError):
    """A beginning that the ids of several executions have."""

    exit_code = 2

    def __init__(self, text: str, matching: Sequence[str]) -> None:
        named = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
        super().__init__(
            f"{len(matching)} executions have ids that begin with {text!r} ({named}): "
            "give more of the one that is meant"
        )


class UnknownStep(SagebridgeError):
    """No step of that name began in an execution."""

    exit_code = 2

    def __init__(self, step: str, known: Sequence[str]) -> None:
        super().__init__(f"no step {step!r} began (there are {', '.join(known) or 'none'})")


class StoreError(SagebridgeError):
    """A place for data that cannot be read or written; it names URI and path."""

    exit_code = 6

    def __init__(self, uri: str, where: str, problem: str) -> None:
        self.uri, self.where, self.problem = uri, where, problem
        super().__init__(f"{uri}: {problem} (in {where})")

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, str, str]]:
        return type(self), (self.uri, self.where, self.problem)


class ObjectNotFound(StoreError):
    """An object that is not where its URI says."""


class BadUri(StoreError):
    """A URI that names no place: an unknown scheme, or a key that leads out of its bucket."""


class WorkdirUnusable(SagebridgeError):
    """A working folder in which nothing can be kept; ``path`` is the part that is at fault."""

    exit_code = 6

    def __init__(self, workdir: str, path: str, problem: str) -> None:
        self.workdir, self.path, self.problem = workdir, path, problem
        part = "" if path == workdir else f" ({path})"
        super().__init__(
            f"the working folder {workdir} cannot be used{part}: {problem}: put that right, or "
            "name another with --workdir or SAGEBRIDGE_HOME"
        )

    def __reduce__(self) -> tuple[type[WorkdirUnusable], tuple[str, str, str]]:
        return type(self), (self.workdir, self.path, self.problem)


class ExecutionRecordsError(SagebridgeError):
    """A place for execution records that cannot be used, or a record that cannot be read."""

    exit_code = 6

    def __init__(self, key: str, location: str, problem: str) -> None:
        self.key, self.location, self.problem = key, location, problem
        one = f" ({key})" if key else ""
        super().__init__(
            f"the execution records in {location}: {problem}{one}; set SAGEBRIDGE_RECORDS to a "
            "folder or s3:// prefix that can be read and written, or set --workdir or "
            "SAGEBRIDGE_HOME"
        )

    def __reduce__(self) -> tuple[type[ExecutionRecordsError], tuple[str, str, str]]:
        return type(self), (self.key, self.location, self.problem)


class StartUnknown(Exception):
    """A DAG run whose start is not known yet; the task is tried again."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"DAG run {run_id} has no start date yet")

    def __reduce__(self) -> tuple[type[StartUnknown], tuple[str]]:
        return type(self), (self.run_id,)


class RecordsUnreachable(ExecutionRecordsError):
    """A place for execution records that does not answer now, and may do so later."""


class OlderRecord(SagebridgeError):
    """A record that an older version of sagebridge wrote."""

    exit_code = 6

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"the record of {what} was written by an older version of sagebridge: "
            "finish or stop running executions before upgrading"
        )

    def __reduce__(self) -> tuple[type[OlderRecord], tuple[str]]:
        return type(self), (self.what,)


class Superseded(SagebridgeError):
    """A worker that writes after another one has gone on with its step, or ended it."""

    exit_code = 3

    def __init__(self, step: str, phase: str) -> None:
        self.step, self.phase = step, phase
        super().__init__(
            f"another worker has gone on with step {step!r} (it is {phase}); "
            "the result of this one is discarded"
        )

    def __reduce__(self) -> tuple[type[Superseded], tuple[str, str]]:
        return type(self), (self.step, self.phase)


class RecordsError(SagebridgeError):
    """The database of local jobs and models cannot be read or written."""

    exit_code = 6

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"the records of local jobs: {problem} (in {path})")

    def __reduce__(self) -> tuple[type[RecordsError], tuple[str, str]]:
        return type(self), (self.path, self.problem)


class IsolationError(SagebridgeError):
    """No way that may be used here gives a job its own /opt/ml; ``tried`` maps way to problem."""

    exit_code = 6

    def __init__(self, tried: Mapping[str, str]) -> None:
        self.tried = dict(tried)
        shown = "; ".join(f"{way}: {problem}" for way, problem in self.tried.items())
        super().__init__(
            f"no way to a private /opt/ml works here ({shown}). Install bubblewrap "
            "(apt-get install bubblewrap), allow user namespaces, or set "
            "SAGEBRIDGE_ISOLATION=rewrite, which replaces /opt/ml in a job's scripts"
        )

    def __reduce__(self) -> tuple[type[IsolationError], tuple[dict[str, str]]]:
        return type(self), (self.tried,)


def describe_value(value: Any) -> str:
    """A value with its type, as messages show it."""
    if value is None:
        return "a missing value"
    kind = {bool: "Boolean", int: "Integer", float: "Float", str: "String"}.get(type(value))
    return f"{value!r} ({kind or type(value).__name__})"
