"""Reading with validation in one pass, as everything that translates needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sagebridge import registry
from sagebridge.errors import MissingExtra, SagebridgeError, SourceError, TranslationError
from sagebridge.findings import Finding
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.registry import Format

AT_A_TIME = 25
"""Files of a format whose reader takes many that it is given at once."""
KEPT = frozenset(
    ("unknown-condition-type", "unknown-expression", "unknown-step-type", "unknown-variable")
)
"""Errors of words that we do not know: a translation keeps them as they came, with a loss."""


@dataclass(frozen=True, slots=True)
class CheckedPipeline:
    """A pipeline of a source, what reading it lost, and what validation says of it."""

    pipeline: Pipeline
    losses: tuple[Loss, ...]
    findings: tuple[Finding, ...]


Outcome = list[CheckedPipeline] | SagebridgeError


def read_checked(
    source: Any, format: str | None = None, *, every: bool = False
) -> list[CheckedPipeline]:
    """The one pipeline of a source, or ``every`` one.

    Raises :class:`~sagebridge.errors.SourceError` where it cannot be read, and
    :class:`~sagebridge.errors.TranslationError` where it has errors that no target could carry.
    """
    if isinstance(source, Pipeline):
        return [_built(source)]
    form = registry.find(format) if format else registry.detect(source)
    if form.name == "sagemaker":
        return [_definition(source)]
    readings = form.readings(source) if every else [form.reader()(source)]
    return _checked(form, source, readings)


def read_each_checked(
    sources: Sequence[str], format: str | None = None
) -> Iterator[tuple[str, Outcome]]:
    """Each source with all its pipelines, or with why it cannot be translated."""
    forms = [_form(source, format) for source in sources]
    for form, group in groupby(zip(forms, sources, strict=True), key=itemgetter(0)):
        files = [source for _, source in group]
        if isinstance(form, Format) and form.read_each:
            for start in range(0, len(files), AT_A_TIME):
                yield from _examine_files(form, files[start : start + AT_A_TIME])
            continue
        for source in files:
            yield source, form if isinstance(form, SagebridgeError) else _caught(source, form.name)


def _form(source: str, format: str | None) -> Format | SourceError:
    try:
        return registry.find(format) if format else registry.detect(source)
    except SourceError as error:
        return error


def _examine_files(form: Format, files: list[str]) -> Iterator[tuple[str, Outcome]]:
    plain = [file for file in files if "#" not in file]
    try:
        read = dict(zip(plain, form.readings_of(plain), strict=True))
    except MissingExtra as error:
        yield from ((file, error.at(file)) for file in files)
        return
    for file in files:
        found = read.get(file)
        if found is None:
            yield file, _caught(file, form.name)
        elif isinstance(found, SourceError):
            yield file, found
        else:
            try:
                yield file, _checked(form, file, found)
            except TranslationError as error:
                yield file, error


def _caught(source: str, format: str) -> Outcome:
    try:
        return read_checked(source, format, every=True)
    except MissingExtra as error:
        return error.at(source)
    except SagebridgeError as error:
        return error


def _definition(source: Any) -> CheckedPipeline:
    from sagebridge.formats.sagemaker.source import open_source, pipeline_of
    from sagebridge.formats.sagemaker.validator import validate_document

    document = open_source(source)
    findings = validate_document(document)
    if faults := _faults(findings):
        raise TranslationError((document.outer or document).source, faults)
    return CheckedPipeline(*pipeline_of(document), findings)


def _built(pipeline: Pipeline) -> CheckedPipeline:
    """A pipeline built in Python."""
    from sagebridge.python_findings import pipeline_findings

    findings = pipeline_findings(pipeline)
    if faults := _faults(findings):
        raise TranslationError(pipeline.name or "pipeline", faults)
    return CheckedPipeline(pipeline, (), findings)


def _checked(
    form: Format, source: Any, readings: list[tuple[Pipeline, tuple[Loss, ...]]]
) -> list[CheckedPipeline]:
    from sagebridge.python_findings import pipeline_findings

    examined = []
    for pipeline, losses in readings:
        findings = pipeline_findings(pipeline)
        if faults := _faults(findings):
            one = source if len(readings) == 1 else f"{source}#{pipeline.name}"
            at_lines = _faults(form.validator()(one))
            raise TranslationError(str(source), at_lines or faults, losses)
        examined.append(CheckedPipeline(pipeline, losses, findings))
    return examined


def _faults(findings: tuple[Finding, ...]) -> list[Finding]:
    """The findings that forbid translating."""
    return [one for one in findings if one.severity == "error" and one.code not in KEPT]
