"""Read pipelines together with their findings. Only structural errors stop a reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sagebridge import registry
from sagebridge.authoring.json_document import source_name
from sagebridge.errors import MissingExtra, SagebridgeError, SourceError, TranslationError
from sagebridge.findings import Finding
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ENGINE_FILES, Pipeline
from sagebridge.registry import Format

BATCH_SIZE = 25
"""Files read at once by a format that reads files in batches."""
STRUCTURAL = frozenset(("dependency-cycle", "duplicate-step"))
"""Errors for which a definition is not a pipeline, even if every step has a name and a type."""
SHAPE = frozenset(("missing-member", "no-steps", "wrong-type"))
"""Errors of a definition without a list of steps, or of a step without a name or a type."""

UNKNOWN = frozenset(
    ("unknown-condition-type", "unknown-expression", "unknown-step-type", "unknown-variable")
)
"""Errors for names unknown to sagebridge, which are kept unchanged. They may be correct."""
ONLY_SAGEMAKER = frozenset(
    (
        "definition-size",
        "nested-condition",
        "parameter-name",
        "pipeline-name",
        "schedule-max-age",
        "schedule-name",
        "schedule-window",
        "step-name",
        "text-too-long",
        "too-many-parameters",
    )
)
"""Limits of SageMaker and EventBridge, which no engine has."""
_UNKNOWN_LOSSES = frozenset(("unknown-condition", "unknown-expression", "unknown-step-type"))


@dataclass(frozen=True, slots=True)
class CheckedPipeline:
    """A pipeline, the losses of reading it, and its findings, errors included."""

    pipeline: Pipeline
    losses: tuple[Loss, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which SageMaker rejects the pipeline, or sagebridge cannot run it."""
        return tuple(one for one in self.findings if one.severity == "error")


Outcome = list[CheckedPipeline] | SagebridgeError


def read_checked(
    source: Any, format: str | None = None, *, every: bool = False, own: bool = False
) -> list[CheckedPipeline]:
    """Read the one pipeline of a source, or all of them if ``every`` is true.

    With ``own`` and ``every``, a flow has the schedules and triggers that it states itself, not
    those of its other deployments.

    Raises :class:`~sagebridge.errors.SourceError` if the source cannot be read, and
    :class:`~sagebridge.errors.TranslationError` if it holds no pipeline: it has no list of steps,
    a step has no name or type, two steps have one name, or steps depend on each other in a cycle.
    """
    if isinstance(source, Pipeline):
        return [_built(source)]
    form = registry.find(format) if format else registry.detect(source)
    if form.name == "sagemaker":
        return [_read_definition(source)]
    readings = form.readings(source, own=own) if every else [form.reader()(source)]
    return _check(form, source, readings)


def read_each_checked(
    sources: Sequence[str], format: str | None = None
) -> Iterator[tuple[str, Outcome]]:
    """The name of each source with all its pipelines, or with the error that stops reading it."""
    for source, outcome in _read_each(sources, format):
        yield source_name(source), outcome


def _read_each(sources: Sequence[str], format: str | None) -> Iterator[tuple[str, Outcome]]:
    forms = [_form(source, format) for source in sources]
    for form, group in groupby(zip(forms, sources, strict=True), key=itemgetter(0)):
        files = [source for _, source in group]
        if isinstance(form, Format) and form.read_each:
            for start in range(0, len(files), BATCH_SIZE):
                yield from _read_batch(form, files[start : start + BATCH_SIZE])
            continue
        for source in files:
            yield source, form if isinstance(form, SagebridgeError) else _attempt(source, form.name)


def unreported(
    findings: Iterable[Finding], losses: Iterable[Loss], pipeline: Pipeline, target: str
) -> tuple[Finding, ...]:
    """The findings that concern a translation, and that its losses do not report."""
    reported = {loss.code for loss in losses}
    if target != "sagemaker" and pipeline.origin in ENGINE_FILES:
        reported |= ONLY_SAGEMAKER
    if not reported.isdisjoint(_UNKNOWN_LOSSES):
        reported |= UNKNOWN
    return tuple(one for one in findings if one.code not in reported)


def _form(source: str, format: str | None) -> Format | SourceError:
    try:
        return registry.find(format) if format else registry.detect(source)
    except SourceError as error:
        return error


def _read_batch(form: Format, files: list[str]) -> Iterator[tuple[str, Outcome]]:
    plain = [file for file in files if "#" not in file]
    try:
        read = dict(zip(plain, form.readings_of(plain), strict=True))
    except MissingExtra as error:
        yield from ((file, error.at(file)) for file in files)
        return
    for file in files:
        found = read.get(file)
        if found is None:
            yield file, _attempt(file, form.name)
        elif isinstance(found, SourceError):
            yield file, found
        else:
            try:
                yield file, _check(form, file, found)
            except TranslationError as error:
                yield file, error


def _attempt(source: str, format: str) -> Outcome:
    try:
        return read_checked(source, format, every=True)
    except MissingExtra as error:
        return error.at(source)
    except SagebridgeError as error:
        return error


def _read_definition(source: Any) -> CheckedPipeline:
    from sagebridge.authoring.definition_reader import InvalidDefinition
    from sagebridge.formats.sagemaker.source import open_source, pipeline_of
    from sagebridge.formats.sagemaker.validator import validate_document

    document = open_source(source)
    name = (document.outer or document).source
    findings = validate_document(document)
    if stops := _structural(findings):
        raise TranslationError(name, stops)
    try:
        return CheckedPipeline(*pipeline_of(document), findings)
    except InvalidDefinition as error:
        stops = [one for one in findings if one.code in SHAPE and error.is_about(one.pointer)]
        raise TranslationError(name, stops) from None


def _built(pipeline: Pipeline) -> CheckedPipeline:
    """A pipeline built in Python."""
    from sagebridge.python_findings import pipeline_findings

    findings = pipeline_findings(pipeline)
    if stops := _structural(findings):
        raise TranslationError(pipeline.name or "pipeline", stops)
    return CheckedPipeline(pipeline, (), findings)


def _check(
    form: Format, source: Any, readings: list[tuple[Pipeline, tuple[Loss, ...]]]
) -> list[CheckedPipeline]:
    from sagebridge.python_findings import pipeline_findings

    checked = []
    for pipeline, losses in readings:
        findings = pipeline_findings(pipeline)
        # If every task was dropped, nothing is left to translate. A DAG without tasks is carried.
        codes = STRUCTURAL | {"no-steps"} if losses else STRUCTURAL
        stops = _structural(findings, codes)
        if stops or findings:
            one = source if len(readings) == 1 else f"{source}#{pipeline.name}"
            findings = form.validator()(one) or findings
        if stops:
            raise TranslationError(str(source), _structural(findings, codes) or stops, losses)
        checked.append(CheckedPipeline(pipeline, losses, findings))
    return checked


def _structural(findings: Sequence[Finding], codes: frozenset[str] = STRUCTURAL) -> list[Finding]:
    return [one for one in findings if one.severity == "error" and one.code in codes]
