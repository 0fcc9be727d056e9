"""Reading with validation in one pass, as everything that translates needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sagebridge import registry
from sagebridge.errors import MissingExtra, SagebridgeError, Untranslatable
from sagebridge.findings import Finding
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

KEPT = frozenset(
    ("unknown-condition-type", "unknown-expression", "unknown-step-type", "unknown-variable")
)
"""Errors of words that we do not know: a translation keeps them as they came, with a loss."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A pipeline of a source, what reading it lost, and what validation says of it."""

    pipeline: Pipeline
    losses: tuple[Loss, ...]
    findings: tuple[Finding, ...]


def examine(source: Any, format: str | None = None, *, every: bool = False) -> list[Examined]:
    """The one pipeline of a source, or ``every`` one.

    Raises :class:`~sagebridge.errors.SourceError` where it cannot be read, and
    :class:`~sagebridge.errors.Untranslatable` where it has errors that no target could carry.
    """
    from sagebridge.formats.sagemaker.source import open_source, pipeline_of
    from sagebridge.formats.sagemaker.validator import validate_document
    from sagebridge.formats.sagemaker.writer import definition

    form = registry.find(format) if format else registry.detect(source)
    if form.name == "sagemaker":
        document = open_source(source)
        findings = validate_document(document)
        _refuse((document.outer or document).source, findings)
        return [Examined(*pipeline_of(document), findings)]
    examined = []
    for pipeline, losses in form.readings(source) if every else [form.reader()(source)]:
        findings = validate_document(open_source(definition(pipeline)))
        _refuse(str(source), findings)
        examined.append(Examined(pipeline, losses, findings))
    return examined


def examine_each(
    sources: Sequence[str], format: str | None = None
) -> Iterator[tuple[str, list[Examined] | SagebridgeError]]:
    """Each source with all its pipelines, or with why it cannot be translated."""
    for source in sources:
        try:
            yield source, examine(source, format, every=True)
        except MissingExtra:
            raise
        except SagebridgeError as error:
            yield source, error


def _refuse(source: str, findings: tuple[Finding, ...]) -> None:
    """Raise :class:`~sagebridge.errors.Untranslatable` where a finding forbids translating."""
    faults = [one for one in findings if one.severity == "error" and one.code not in KEPT]
    if faults:
        raise Untranslatable(source, faults)
