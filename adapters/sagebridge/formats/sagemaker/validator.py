"""All findings of a definition at once. The definition is looked at, never executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.json_document import Document, MalformedJson, NotAPipeline
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.rules import RULES
from sagebridge.formats.sagemaker.rules.definition import Definition, Problem
from sagebridge.formats.sagemaker.rules.envelope_rules import MAX_SIZE, check_document
from sagebridge.formats.sagemaker.source import open_source
from sagebridge.model.display import shown

UNREADABLE = "unreadable-source"


def validate(source: Any) -> tuple[Finding, ...]:
    """The findings of a source, by place. A source that cannot be opened is a finding itself.

    Pointers are those of the definition, also where a Create/DescribePipeline document holds it;
    of malformed JSON the pointer is ``line 1, column 108`` of its own text.
    """
    try:
        document = open_source(source)
    except MalformedJson as error:
        place = f"line {error.line}, column {error.column}"
        line = error.holder or error.line
        return (Finding("malformed-json", "error", place, line, error.reason),)
    except SourceError as error:
        return (unreadable(error),)
    return validate_document(document)


def unreadable(error: SourceError) -> Finding:
    """A source that cannot be read, as the one finding that it gives."""
    code = "not-a-pipeline" if isinstance(error, NotAPipeline) else UNREADABLE
    message = f"{error.problem}; {error.fix}" if error.fix else error.problem
    return Finding(code, "error", "", getattr(error, "line", None) or 1, message)


def validate_document(document: Document) -> tuple[Finding, ...]:
    """The findings of a document that has been opened."""
    problems = set(_problems(document))
    ordered = sorted(problems, key=lambda one: (document.offset(one.pointer), *one))
    return tuple(
        Finding(one.code, one.severity, one.pointer, document.line(one.pointer), one.message)
        for one in ordered
    )


def _problems(document: Document) -> Iterator[Problem]:
    definition = Definition(document.value)
    for pointer in document.repeated:
        yield Problem(
            "duplicate-member",
            pointer,
            f"the member {shown(pointer.rpartition('/')[2])} is written twice in one object; "
            "the last one counts",
            "warning",
        )
    yield from check_document(document.envelope, _size(document))
    for rule in RULES:
        yield from rule(definition)


def _size(document: Document) -> int:
    """Characters of the definition, without what only lays it out."""
    if len(document.text) <= MAX_SIZE:
        return len(document.text)
    return len(json.dumps(document.value, ensure_ascii=False, separators=(",", ":")))
