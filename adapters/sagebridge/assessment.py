"""What translating a fleet of pipelines would lose, before anybody translates it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sagebridge import registry
from sagebridge.checked_reading import (
    UNKNOWN,
    CheckedPipeline,
    read_each_checked,
    unreported,
)
from sagebridge.errors import MissingExtra, SagebridgeError, SourceError, Untranslatable
from sagebridge.findings import Finding
from sagebridge.model.losses import Loss, counted
from sagebridge.model.pipeline import walk

Grade = Literal["exact", "changed", "needs a person"]
GRADES: tuple[Grade, ...] = get_args(Grade)


def grade(losses: Iterable[Loss], errors: Iterable[Finding] = ()) -> Grade:
    """The grade of one pipeline for one target.

    ``needs a person``: something is dropped, or the source has an error to correct. ``changed``:
    something means another thing in the target, or has a name that sagebridge does not know.
    ``exact``: everything else; losses of severity ``info`` do not count.
    """
    severities = {loss.severity for loss in losses}
    codes = {error.code for error in errors}
    if "dropped" in severities or codes - UNKNOWN:
        return "needs a person"
    return "changed" if "changed" in severities or codes else "exact"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one pipeline comes to one target; ``error`` where it does not, ``faults`` as codes."""

    grade: Grade
    losses: tuple[Loss, ...] = ()
    error: str = ""
    faults: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @classmethod
    def failed(cls, error: SagebridgeError) -> Outcome:
        match error:
            case Untranslatable(findings=findings):
                faults = tuple(one.code for one in findings)
            case SourceError():
                faults = ("unreadable-source",)
            case _:
                faults = ("unwritable",)
        return cls("needs a person", error=str(error), faults=faults)

    @property
    def codes(self) -> tuple[str, ...]:
        """Why it has its grade: the codes of faults, and of losses that are no information."""
        errors = (one.code for one in self.findings if one.severity == "error")
        return (*self.faults, *errors, *(loss.code for loss in counted(self.losses)))

    def as_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {"grade": self.grade}
        result["losses"] = [loss.as_json() for loss in self.losses]
        if self.findings:
            result["findings"] = [one.as_json() for one in self.findings]
        return result | ({"error": self.error} if self.error else {})


@dataclass(frozen=True, slots=True)
class Assessment:
    """One pipeline of a fleet; ``outcomes`` are by target, without the format it comes from."""

    source: str
    pipeline: str | None
    format: str
    steps: int
    outcomes: Mapping[str, Outcome]

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "pipeline": self.pipeline,
            "format": self.format,
            "steps": self.steps,
            "targets": {name: one.as_json() for name, one in self.outcomes.items()},
        }


def assess(
    sources: Sequence[str], targets: Sequence[str] = (), format: str | None = None
) -> Iterator[Assessment]:
    """Each pipeline of the sources against each target (all formats, if none are named)."""
    for source, result in read_each_checked(sources, format):
        own = format or _format_of(source)
        wanted = [name for name in targets or registry.FORMATS if name != own]
        if isinstance(result, MissingExtra):
            raise result
        if isinstance(result, SagebridgeError):
            failed = Outcome.failed(result)
            yield Assessment(source, None, own, 0, dict.fromkeys(wanted, failed))
            continue
        for one in result:
            outcomes = {target: _outcome(one, target) for target in wanted}
            steps = sum(1 for _ in walk(one.pipeline))
            yield Assessment(source, one.pipeline.name, own, steps, outcomes)


def _format_of(source: str) -> str:
    try:
        return registry.detect(source).name
    except SagebridgeError:
        return ""


def _outcome(one: CheckedPipeline, target: str) -> Outcome:
    try:
        _, lost = registry.find(target).writer()(one.pipeline)
    except MissingExtra:
        raise
    except SagebridgeError as error:
        return Outcome.failed(error)
    losses = (*one.losses, *lost)
    findings = unreported(one.findings, losses)
    return Outcome(grade(losses, one.errors), losses, findings=findings)
