"""The errors that a user can fix: one base class, one class per cause.

Each class has an exit code: 1 findings or a stale file, 2 usage, 3 the execution failed, 4 losses
with ``--fail-on-loss``, 5 unreadable source, 6 missing extra or service. Messages are built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from sagebridge.findings import Finding
    from sagebridge.model.losses import Loss


_OTHER_ENGINE = {"airflow": "prefect", "prefect": "airflow"}


def requirement(extra: str) -> str:
    """The argument of ``pip install`` for an extra, from where sagebridge itself was installed.

    That is a folder or file while sagebridge is not on PyPI; pip records it in ``direct_url.json``
    (PEP 610).
    """
    import json  # here: only errors need it
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote

    try:
        recorded = json.loads(distribution("sagebridge").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        recorded = {}
    url = str(recorded.get("url", ""))
    if url.startswith("file://"):
        return f"'{unquote(url.removeprefix('file://'))}[{extra}]'"
    return f"'sagebridge[{extra}] @ {url}'" if url else f"'sagebridge[{extra}]'"


class SagebridgeError(Exception):
    """Base class. Its string is the message that the command line prints."""

    exit_code: ClassVar[int] = 1


class UsageError(SagebridgeError):
    """Options of a command that cannot be combined."""

    exit_code = 2


class ProblemsError(SagebridgeError):
    """Base class of errors with ``problems``, one line each."""

    separator: ClassVar[str] = "\n"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.separator.join(self.problems))

    def __reduce__(self) -> tuple[type[ProblemsError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class ParameterError(ProblemsError):
    """Parameter values that the pipeline rejects."""

    exit_code = 2
    separator = "; "


class EventPatternError(ProblemsError):
    """An event pattern that EventBridge rejects."""

    separator = "; "


class StageError(ProblemsError):
    """Wrong ``--map`` options or stage files."""

    exit_code = 2


class ScheduleError(SagebridgeError):
    """Schedules or event triggers that cannot start their pipeline; ``problems`` has one each."""

    def __init__(self, pipeline: str, problems: Sequence[str]) -> None:
        self.pipeline, self.problems = pipeline, tuple(problems)
        super().__init__("\n".join(f"{pipeline}: {problem}" for problem in self.problems))

    def __reduce__(self) -> tuple[type[ScheduleError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.pipeline, self.problems)


class SelectionError(ProblemsError):
    """Steps that cannot be selected, or lack values."""

    exit_code = 2


class ModelTypeError(ProblemsError, TypeError):
    """Values of the wrong type in a pipeline built in Python."""

    exit_code = 5


class SourceError(SagebridgeError):
    """A source that cannot be read as a pipeline."""

    exit_code = 5

    def __init__(self, source: str, problem: str, fix: str = "") -> None:
        self.source, self.problem, self.fix = source, problem, fix
        super().__init__(f"{source}: {problem}" + (f"; {fix}" if fix else ""))


class PythonFileError(SourceError):
    """A Python file that cannot be read; ``line`` is None if the problem is not in one line."""

    def __init__(self, file: str, line: int | None, problem: str, fix: str = "") -> None:
        self.line = line
        super().__init__(file if line is None else f"{file}:{line}", problem, fix)


class TranslationError(SagebridgeError):
    """A pipeline with errors that no target can carry.

    Attributes:
        findings: the errors.
        losses: those of reading it. They can explain the errors: a DAG that contains only sensors
            has no steps.
    """

    def __init__(
        self, source: str, findings: Sequence[Finding], losses: Sequence[Loss] = ()
    ) -> None:
        self.source, self.findings, self.losses = source, tuple(findings), tuple(losses)
        lines = [f"{source}:{finding}" for finding in self.findings]
        super().__init__("\n".join((*lines, *map(str, self.losses))))

    def __reduce__(
        self,
    ) -> tuple[type[TranslationError], tuple[str, tuple[Finding, ...], tuple[Loss, ...]]]:
        return type(self), (self.source, self.findings, self.losses)


class StaleFileError(SagebridgeError):
    """A file that is missing, or differs from what its source produces now."""

    def __init__(self, path: str, *, missing: bool) -> None:
        self.path, self.missing = path, missing
        super().__init__(f"{path}: {'missing' if missing else 'stale'}")


class LossError(SagebridgeError):
    """Losses with ``--fail-on-loss``."""

    exit_code = 4

    def __init__(self, source: str, number: int) -> None:
        self.source, self.number = source, number
        losses = "1 loss" if number == 1 else f"{number} losses"
        super().__init__(f"{source}: {losses}; nothing was written because of --fail-on-loss")


def _conflict(extra: str) -> str:
    """The installed engine that keeps an extra out of this environment; empty if none does."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        if extra == "airflow" and (found := version("apache-airflow")).startswith("2."):
            return f"Airflow {found}"  # it only runs DAGs
    except PackageNotFoundError:
        pass
    # Their newest versions pin different versions of shared dependencies.
    other = _OTHER_ENGINE.get(extra)
    return other.title() if other is not None and find_spec(other) is not None else ""


class MissingExtra(SagebridgeError):
    """A package of a sagebridge extra is not installed."""

    exit_code = 6

    def __init__(self, what: str, extra: str, source: str = "") -> None:
        self.what, self.extra = what, extra
        location = f"{source}: " if source else ""
        install = f"pip install {requirement(extra)}"
        fix = f"run: {install}"
        if other := _conflict(extra):
            fix = f"this environment has {other}, so run the command in another one, with {install}"
        super().__init__(f"{location}{what} needs the extra {extra!r}; {fix}")

    def at(self, source: str) -> MissingExtra:
        """The same error for one of several sources."""
        return MissingExtra(self.what, self.extra, source)


class ServiceError(SagebridgeError):
    """An engine or service does not start or respond."""

    exit_code = 6


class FormatError(SagebridgeError):
    """An unknown format or document, or a pipeline that the format cannot contain."""

    exit_code = 2


class CodeOnlyError(FormatError):
    """A pipeline for SageMaker in which every step is a Python function or a shell command."""

    exit_code = 1

    def __init__(self, pipeline: str | None) -> None:
        self.pipeline = pipeline
        super().__init__(
            f"{pipeline or 'pipeline'}: every step is a Python function or a shell command, and "
            "SageMaker has no step type for them; use Processing or Lambda steps"
        )


class FlowError(SagebridgeError):
    """A Prefect flow with steps that do not form a pipeline."""

    exit_code = 5

    def __init__(self, flow: str, problem: str) -> None:
        self.flow, self.problem = flow, problem
        super().__init__(f"flow {flow!r}: {problem}")

    def __reduce__(self) -> tuple[type[FlowError], tuple[str, str]]:
        return type(self), (self.flow, self.problem)
