"""Assess what translating many pipelines would lose, without translating them."""

from __future__ import annotations

from collections import Counter
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
from sagebridge.errors import MissingExtra, SagebridgeError, SourceError, TranslationError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.foreign_files import ForeignFile
from sagebridge.model.losses import Loss, counted, for_target
from sagebridge.model.pipeline import Pipeline, walk

Grade = Literal["exact", "changed", "needs manual work"]
GRADES: tuple[Grade, ...] = get_args(Grade)


def grade(losses: Iterable[Loss], errors: Iterable[Finding] = ()) -> Grade:
    """The grade of one pipeline for one target.

    ``needs manual work``: something is dropped, or the source has an error to correct.
    ``changed``: something has another meaning in the target, or a name that sagebridge does not
    know. ``exact``: everything else; losses of severity ``info`` do not count.
    """
    severities = {loss.severity for loss in losses}
    codes = {error.code for error in errors}
    if "dropped" in severities or codes - UNKNOWN:
        return "needs manual work"
    return "changed" if "changed" in severities or codes else "exact"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The assessment of one pipeline for one target.

    ``text`` is the translation. If the pipeline cannot be written, ``error`` has the message and
    ``faults`` its codes.
    """

    grade: Grade
    losses: tuple[Loss, ...] = ()
    error: str = ""
    faults: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    text: str = ""

    @classmethod
    def failed(cls, error: SagebridgeError) -> Outcome:
        match error:
            case TranslationError(findings=findings):
                faults = tuple(one.code for one in findings)
            case ForeignFile():
                faults = ("not-a-pipeline",)
            case SourceError():
                faults = ("unreadable-source",)
            case _:
                faults = ("unwritable",)
        return cls("needs manual work", error=str(error), faults=faults)

    @property
    def codes(self) -> tuple[str, ...]:
        """The reasons for the grade: codes of faults, errors, and changed or dropped losses."""
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
    """One assessed pipeline; ``outcomes`` by target, except for the format of its source.

    ``model`` is None if the source cannot be read.
    """

    source: str
    pipeline: str | None
    format: str
    steps: int
    outcomes: Mapping[str, Outcome]
    model: Pipeline | None = None

    @classmethod
    def of(
        cls, source: str, format: str, pipeline: Pipeline, outcomes: Mapping[str, Outcome]
    ) -> Assessment:
        steps = sum(1 for _ in walk(pipeline))
        return cls(source, pipeline.name, format, steps, outcomes, pipeline)

    @classmethod
    def failed(
        cls, source: str, format: str, targets: Iterable[str], error: SagebridgeError
    ) -> Assessment:
        return cls(source, None, format, 0, dict.fromkeys(targets, Outcome.failed(error)))

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
    """Assess each pipeline of the sources for each target; all formats by default."""
    for source, result in read_each_checked(sources, format):
        own = format or format_of(source)
        wanted = [name for name in targets or registry.FORMATS if name != own]
        if isinstance(result, MissingExtra):
            raise result
        if isinstance(result, SagebridgeError):
            yield Assessment.failed(source, own, wanted, result)
            continue
        for one in result:
            outcomes = {target: _outcome(one, target) for target in wanted}
            yield Assessment.of(source, own, one.pipeline, outcomes)


def format_of(source: str) -> str:
    """The detected format; empty if it is unknown."""
    try:
        return registry.detect(source).name
    except SagebridgeError:
        return ""


def _outcome(one: CheckedPipeline, target: str) -> Outcome:
    reading = tuple(for_target(one.losses, target))
    try:
        text, lost = registry.find(target).writer()(one.pipeline, reading)
    except MissingExtra:
        raise
    except SagebridgeError as error:
        return Outcome.failed(error)
    losses = (*reading, *lost)
    findings = unreported(one.findings, losses, one.pipeline, target)
    return Outcome(grade(losses, one.errors), losses, findings=findings, text=text)


def counts(found: Iterable[Assessment]) -> dict[str, dict[Grade, int]]:
    """The number of pipelines per target and grade."""
    seen = Counter((target, one.grade) for each in found for target, one in each.outcomes.items())
    targets = {target for target, _ in seen}
    return {
        target: {name: seen[target, name] for name in GRADES}
        for target in registry.FORMATS
        if target in targets
    }
