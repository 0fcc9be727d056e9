"""Every error that sagebridge raises for a cause that a user can mend.

One base, one class per cause, each with the exit code of its kind: 1 findings or stale, 2 usage,
3 the execution failed, 4 losses with ``--fail-on-loss``, 5 a source cannot be read, 6 a missing
extra or service. The message is built here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from sagebridge.findings import Finding
    from sagebridge.model.losses import Loss


class SagebridgeError(Exception):
    """The base: its text is the message that a user sees."""

    exit_code: ClassVar[int] = 1


class UsageError(SagebridgeError):
    """Words of a command that do not fit together."""

    exit_code = 2


class ParameterError(SagebridgeError):
    """Parameter values that the pipeline does not take; ``problems`` has one line each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))

    def __reduce__(self) -> tuple[type[ParameterError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class SourceError(SagebridgeError):
    """A source that cannot be read as a pipeline."""

    exit_code = 5

    def __init__(self, source: str, problem: str, fix: str = "") -> None:
        self.source, self.problem, self.fix = source, problem, fix
        super().__init__(f"{source}: {problem}" + (f"; {fix}" if fix else ""))


class PythonFileError(SourceError):
    """A Python file that cannot be read, at ``line``; None if no single line is at fault."""

    def __init__(self, file: str, line: int | None, problem: str, fix: str = "") -> None:
        self.line = line
        super().__init__(file if line is None else f"{file}:{line}", problem, fix)


class Untranslatable(SagebridgeError):
    """A pipeline with errors that no target could carry; ``findings`` has them.

    ``losses`` are those of reading it, which may say why: a DAG of sensors alone has no steps.
    """

    def __init__(
        self, source: str, findings: Sequence[Finding], losses: Sequence[Loss] = ()
    ) -> None:
        self.source, self.findings, self.losses = source, tuple(findings), tuple(losses)
        lines = [f"{source}:{finding}" for finding in self.findings]
        super().__init__("\n".join((*lines, *map(str, self.losses))))

    def __reduce__(
        self,
    ) -> tuple[type[Untranslatable], tuple[str, tuple[Finding, ...], tuple[Loss, ...]]]:
        return type(self), (self.source, self.findings, self.losses)


class Stale(SagebridgeError):
    """A file on disk that is not what its source now gives."""

    def __init__(self, path: str, *, missing: bool) -> None:
        self.path, self.missing = path, missing
        super().__init__(f"{path}: {'missing' if missing else 'stale'}")


class LossesForbidden(SagebridgeError):
    """Losses where none were allowed."""

    exit_code = 4

    def __init__(self, source: str, number: int) -> None:
        self.source, self.number = source, number
        losses = "1 loss" if number == 1 else f"{number} losses"
        super().__init__(f"{source}: {losses}, so nothing is written (--fail-on-loss)")


class MissingExtra(SagebridgeError):
    """A package that only one extra of ours brings is not installed."""

    exit_code = 6

    def __init__(self, what: str, extra: str, source: str = "") -> None:
        self.what, self.extra = what, extra
        place = f"{source}: " if source else ""
        fix = f"pip install 'sagebridge[{extra}]'"
        super().__init__(f"{place}{what} needs the extra {extra!r}: {fix}")

    def at(self, source: str) -> MissingExtra:
        """The same of one source among others."""
        return MissingExtra(self.what, self.extra, source)


class ServiceError(SagebridgeError):
    """An engine or service that does not start or answer."""

    exit_code = 6


class FormatError(SagebridgeError):
    """A pipeline that a format cannot be asked for, or an unknown format."""

    exit_code = 2


class OnlyCode(FormatError):
    """A pipeline for SageMaker whose steps are all code of its orchestrator."""

    exit_code = 1

    def __init__(self, pipeline: str | None) -> None:
        self.pipeline = pipeline
        super().__init__(
            f"all steps of {pipeline or 'the pipeline'} are Python functions and shell commands, "
            "which no SageMaker step is: make them Processing or Lambda steps"
        )


class FlowError(SagebridgeError):
    """A Prefect flow whose steps make no pipeline."""

    exit_code = 5

    def __init__(self, flow: str, problem: str) -> None:
        self.flow, self.problem = flow, problem
        super().__init__(f"flow {flow!r}: {problem}")

    def __reduce__(self) -> tuple[type[FlowError], tuple[str, str]]:
        return type(self), (self.flow, self.problem)
