"""Errors raised while steps run. Each class builds its own message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from sagebridge.errors import ProblemsError, SagebridgeError, ServiceError

FinalState = Literal["Succeeded", "Failed", "Stopped", "Skipped"]
FailureKind = Literal[
    "check",
    "code",
    "fail-step",
    "final",
    "iterations",
    "job",
    "lost-worker",
    "not-runnable",
    "outputs",
    "request",
    "service",
    "skipped",
    "stopped",
    "time-limit",
    "unresolvable",
]
"""The kind of failure that ended an attempt, as records and retry policies use it."""
RETRIED: frozenset[FailureKind] = frozenset(("code", "job", "time-limit"))
"""The kinds of failures that a user's own retries cover. The others would only happen again."""


class InvalidPipeline(SagebridgeError):
    """A pipeline with errors, found before its first job; ``errors`` has one line each."""

    def __init__(self, pipeline: str, errors: Sequence[str]) -> None:
        self.pipeline, self.errors = pipeline, tuple(errors)
        listed = "; ".join(self.errors)
        super().__init__(f"pipeline {pipeline!r} was not started, as it has errors: {listed}")

    def __reduce__(self) -> tuple[type[InvalidPipeline], tuple[str, tuple[str, ...]]]:
        return type(self), (self.pipeline, self.errors)


class StepFailed(SagebridgeError):
    """A step ended Failed; the message is the failure reason.

    Args:
        kind: the kind of failure, as in the record of the attempt.
        code: AWS's error code or the class of the exception, as in the record; may be empty.

    The driver sets ``retry`` if the engine may try again: the number of the failed try, and the
    number of tries that the user allows. ``outputs`` are values that the code of the step pushed.
    """

    exit_code = 3
    state: ClassVar[FinalState] = "Failed"
    kind: FailureKind = "job"
    code = ""
    retry: tuple[int, int] | None = None
    outputs: Mapping[str, Any] | None = None

    def __init__(self, text: str, *, kind: FailureKind | None = None, code: str = "") -> None:
        self.kind, self.code = kind or type(self).kind, code
        super().__init__(text)


class StepStopped(StepFailed):
    """The job of a step was stopped, which is not a success."""

    state = "Stopped"
    kind = "stopped"


class StepSkipped(StepFailed):
    """The code of a step decided that it has nothing to do, as Airflow's AirflowSkipException."""

    state = "Skipped"
    kind = "skipped"


ERROR_OF_STATE: Mapping[str, type[StepFailed]] = {"Stopped": StepStopped, "Skipped": StepSkipped}
"""What a step raises at its end in a state; a StepFailed in all others."""


class StepTimeout(BaseException):
    """The time limit of a step is over, and its engine does not interrupt it."""


class ExecutionStopped(StepStopped):
    """A stop of the execution was requested before this step started."""

    def __init__(self) -> None:
        super().__init__("the execution was stopped before this step started; start a new run")

    def __reduce__(self) -> tuple[type[ExecutionStopped], tuple[()]]:
        return type(self), ()


class NotRunnable(StepFailed):
    """A step or condition that sagebridge translates but cannot run."""

    kind = "not-runnable"

    def __init__(self, what: str) -> None:
        super().__init__(f"sagebridge cannot run {what}")


class BaselineMissing(StepFailed):
    """A check step needs a prior baseline that does not exist.

    Args:
        group: the model package group of the step; empty if it has none.
    """

    kind = "request"

    def __init__(self, check_type: str, group: str) -> None:
        self.check_type, self.group = check_type, group
        problem = "the step has no ModelPackageGroupName"
        if group:
            latest = f"the latest approved version in model package group {group!r}"
            problem = f"{latest} has no DriftCheckBaselines for {check_type}, or does not exist"
        super().__init__(
            f"no baseline: SuppliedBaselineConstraints is empty, and {problem}; supply a baseline, "
            "or set SkipCheck and RegisterNewBaseline to true for the first run"
        )

    def __reduce__(self) -> tuple[type[BaselineMissing], tuple[str, str]]:
        return type(self), (self.check_type, self.group)


class CheckViolated(StepFailed):
    """A check step found violations of its baseline; ``violations`` has one text each."""

    kind = "check"
    shown = 20

    def __init__(self, check_type: str, baseline: str, violations: Sequence[str]) -> None:
        self.found = check_type, baseline, tuple(violations)
        listed = list(violations[: self.shown])
        if more := len(violations) - len(listed):
            listed.append(f"{more} more")
        count = f"{len(violations)} violation{'' if len(violations) == 1 else 's'}"
        text = "; ".join(listed)
        super().__init__(f"{check_type} found {count} of the baseline {baseline}: {text}")

    def __reduce__(self) -> tuple[type[CheckViolated], tuple[str, str, tuple[str, ...]]]:
        return type(self), self.found


class IncomparableValues(StepFailed):
    """A condition compares values of different types, or a value is missing.

    Args:
        left, right: descriptions of the values, with their types and sources.
    """

    kind = "unresolvable"

    def __init__(self, type_: str, left: str, right: str) -> None:
        self.compared = (type_, left, right)
        super().__init__(f"condition {type_} cannot compare {left} with {right}")

    def __reduce__(self) -> tuple[type[IncomparableValues], tuple[str, str, str]]:
        return type(self), self.compared


class Unresolvable(StepFailed):
    """An expression that has no value at run time."""

    kind = "unresolvable"

    def __init__(self, expression: str, problem: str, there: Sequence[str] = ()) -> None:
        found = f" (available: {', '.join(there)})" if there else ""
        super().__init__(f"{expression} has no value: {problem}{found}")


class ExperimentRejected(StepFailed):
    """SageMaker does not create the experiment or trial of ``PipelineExperimentConfig``.

    Args:
        what: ``experiment`` or ``trial``.
        problem: SageMaker's error, which names a missing permission.
    """

    kind = "request"

    def __init__(self, what: str, name: str, problem: str, code: str) -> None:
        self.given = (what, name, problem, code)
        super().__init__(
            f"cannot create the {what} {name!r} of PipelineExperimentConfig: {problem}; allow "
            f"sagemaker:Create{what.capitalize()}, change the name, or set "
            "PipelineExperimentConfig to null",
            code=code,
        )

    def __reduce__(self) -> tuple[type[ExperimentRejected], tuple[str, str, str, str]]:
        return type(self), self.given


class OutputsTooLarge(StepFailed):
    """The outputs of a step are too large to pass between tasks."""

    kind = "outputs"

    def __init__(self, step: str, size: int, limit: int) -> None:
        super().__init__(
            f"step {step!r}: the outputs that this pipeline refers to are {size} bytes, over the "
            f"limit of {limit} bytes; refer to an S3 URI instead"
        )


class ExecutionFailed(SagebridgeError):
    """A pipeline execution ended without success."""

    exit_code = 3


class JobsNotStopped(SagebridgeError):
    """Jobs that a service did not stop; ``problems`` has one line each."""

    exit_code = 3

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"not stopped: {'; '.join(self.problems)}")

    def __reduce__(self) -> tuple[type[JobsNotStopped], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class JobElsewhere(SagebridgeError):
    """A job of another AWS account than the one of the given credentials."""

    exit_code = 3

    def __init__(self, arn: str, account: str, connection: str = "") -> None:
        self.arn, self.account, self.connection = arn, account, connection
        used = f" (its task uses the connection {connection!r})" if connection else ""
        super().__init__(
            f"{arn} is in another account{used}; the credentials of this command are of account "
            f"{account}: run it again with credentials of the job's account"
        )

    def __reduce__(self) -> tuple[type[JobElsewhere], tuple[str, str, str]]:
        return type(self), (self.arn, self.account, self.connection)


class EditedFile(SagebridgeError):
    """A file has local edits, so a command did not overwrite it."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} has local edits and was not overwritten; deploy it as is, or pass --overwrite"
        )


class NoPrefectServer(ServiceError):
    """No Prefect server is configured, or the configured one does not answer."""

    def __init__(self, url: str | None, problem: str = "") -> None:
        self.url, self.problem = url, problem
        found = f"no Prefect server answers at {url} ({problem})" if url else "no Prefect server"
        super().__init__(
            f"{found}; start one with `prefect server start` and set PREFECT_API_URL, or run "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`"
        )

    def __reduce__(self) -> tuple[type[NoPrefectServer], tuple[str | None, str]]:
        return type(self), (self.url, self.problem)


class UnknownExecution(SagebridgeError):
    """The records have no execution with this id."""

    exit_code = 2

    def __init__(self, execution_id: str, known: Sequence[str], where: str) -> None:
        newest = f" (newest: {', '.join(known[:5])})" if known else " (there are no executions)"
        super().__init__(f"no execution {execution_id!r} in {where}{newest}")


class NotRetryable(SagebridgeError):
    """An execution that ``executions retry`` cannot run again."""

    exit_code = 2

    def __init__(self, execution: str, why: str) -> None:
        self.execution, self.why = execution, why
        super().__init__(f"execution {execution} cannot be retried: {why}")

    def __reduce__(self) -> tuple[type[NotRetryable], tuple[str, str]]:
        return type(self), (self.execution, self.why)


class AmbiguousExecution(SagebridgeError):
    """An id prefix that several executions share."""

    exit_code = 2

    def __init__(self, text: str, matching: Sequence[str]) -> None:
        named = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
        super().__init__(
            f"id prefix {text!r} is ambiguous ({len(matching)} executions: {named}); "
            "use more characters"
        )


class UnknownStep(SagebridgeError):
    """No step of this name has started in an execution."""

    exit_code = 2

    def __init__(self, step: str, known: Sequence[str]) -> None:
        super().__init__(f"no step {step!r} has started (started: {', '.join(known) or 'none'})")


class UnknownCallback(SagebridgeError):
    """No Callback step waits for an answer with a token."""

    exit_code = 2

    def __init__(self, token: str, where: str) -> None:
        self.token, self.where = token, where
        super().__init__(
            f"no Callback step has the token {token!r} (records in {where}); `sagebridge callback "
            "list` prints the tokens of waiting steps"
        )

    def __reduce__(self) -> tuple[type[UnknownCallback], tuple[str, str]]:
        return type(self), (self.token, self.where)


class CallbackEnded(SagebridgeError):
    """A Callback step that does not wait any more, as only the first answer counts."""

    exit_code = 2

    def __init__(self, token: str, why: str) -> None:
        self.token, self.why = token, why
        super().__init__(f"the Callback step with the token {token!r} does not wait: {why}")

    def __reduce__(self) -> tuple[type[CallbackEnded], tuple[str, str]]:
        return type(self), (self.token, self.why)


class StoreError(SagebridgeError):
    """Data at a URI cannot be read or written.

    Args:
        where: the file, folder or store behind the URI.
    """

    exit_code = 6

    def __init__(self, uri: str, where: str, problem: str) -> None:
        self.uri, self.where, self.problem = uri, where, problem
        super().__init__(f"{uri}: {problem} (in {where})")

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, str, str]]:
        return type(self), (self.uri, self.where, self.problem)


class ObjectNotFound(StoreError):
    """No object exists at this URI."""


class BadUri(StoreError):
    """An invalid URI: an unknown scheme, or a key that leads out of its bucket."""


class WorkdirUnusable(SagebridgeError):
    """The working folder cannot be used; ``path`` is the file or folder at fault."""

    exit_code = 6

    def __init__(self, workdir: str, path: str, problem: str) -> None:
        self.workdir, self.path, self.problem = workdir, path, problem
        part = "" if path == workdir else f" ({path})"
        super().__init__(
            f"the working folder {workdir} cannot be used{part}: {problem}; fix this, or set "
            "another folder with --workdir or SAGEBRIDGE_HOME"
        )

    def __reduce__(self) -> tuple[type[WorkdirUnusable], tuple[str, str, str]]:
        return type(self), (self.workdir, self.path, self.problem)


class ExecutionRecordsError(SagebridgeError):
    """The execution records cannot be used, or a record cannot be read.

    Args:
        key: the record, relative to ``location``; may be empty.
        location: the folder or ``s3://`` prefix of the records.
    """

    exit_code = 6

    def __init__(self, key: str, location: str, problem: str) -> None:
        self.key, self.location, self.problem = key, location, problem
        one = f" ({key})" if key else ""
        super().__init__(
            f"cannot use the execution records in {location}: {problem}{one}; set "
            "SAGEBRIDGE_RECORDS to a folder or s3:// prefix that can be read and written, or set "
            "--workdir or SAGEBRIDGE_HOME"
        )

    def __reduce__(self) -> tuple[type[ExecutionRecordsError], tuple[str, str, str]]:
        return type(self), (self.key, self.location, self.problem)


class MissingStartDate(Exception):
    """A DAG run has no start date yet, so the engine must retry the task.

    Not a SagebridgeError: those end a task without a retry.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"DAG run {run_id} has no start date yet")

    def __reduce__(self) -> tuple[type[MissingStartDate], tuple[str]]:
        return type(self), (self.run_id,)


class RecordsUnreachable(ExecutionRecordsError):
    """The execution records do not answer now; the same call may succeed later."""


class OlderRecord(SagebridgeError):
    """A record was written by an older version of sagebridge."""

    exit_code = 6

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"the record of {what} was written by an older version of sagebridge; "
            "finish or stop running executions before upgrading"
        )

    def __reduce__(self) -> tuple[type[OlderRecord], tuple[str]]:
        return type(self), (self.what,)


class SupersededWorker(SagebridgeError):
    """Another worker has continued or ended the step of this worker."""

    exit_code = 3

    def __init__(self, step: str, phase: str) -> None:
        self.step, self.phase = step, phase
        super().__init__(
            f"another worker has taken over step {step!r} (now {phase}); "
            "the result of this worker is discarded"
        )

    def __reduce__(self) -> tuple[type[SupersededWorker], tuple[str, str]]:
        return type(self), (self.step, self.phase)


class RecordsError(SagebridgeError):
    """The database of local jobs and models cannot be read or written."""

    exit_code = 6

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"cannot use the database of local jobs: {problem} (in {path})")

    def __reduce__(self) -> tuple[type[RecordsError], tuple[str, str]]:
        return type(self), (self.path, self.problem)


class IsolationError(SagebridgeError):
    """No isolation method works here, so a job cannot get its own /opt/ml.

    Args:
        tried: the problem with each method, by method.
    """

    exit_code = 6

    def __init__(self, tried: Mapping[str, str]) -> None:
        self.tried = dict(tried)
        shown = "; ".join(f"{method}: {problem}" for method, problem in self.tried.items())
        super().__init__(
            f"cannot give jobs a private /opt/ml ({shown}); install bubblewrap "
            "(apt-get install bubblewrap), allow user namespaces, or set "
            "SAGEBRIDGE_ISOLATION=rewrite, which replaces /opt/ml in the scripts of jobs"
        )

    def __reduce__(self) -> tuple[type[IsolationError], tuple[dict[str, str]]]:
        return type(self), (self.tried,)


def describe_value(value: Any, *, secret: bool = False) -> str:
    """A value and its type, for error messages; at most 200 characters of the value."""
    if value is None:
        return "a missing value"
    text = "***" if secret else repr(value)
    text = text if len(text) <= 200 else f"{text[:199]}…"
    kind = {bool: "Boolean", int: "Integer", float: "Float", str: "String"}.get(type(value))
    return f"{text} ({kind or type(value).__name__})"


class EventsRejected(ProblemsError):
    """Events that started no run."""

    exit_code = 3
