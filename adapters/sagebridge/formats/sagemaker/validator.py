"""All findings of a definition. Nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.definition_reader import read_parameter
from sagebridge.authoring.json_document import Document, MalformedJson, NotAPipeline
from sagebridge.authoring.schedule_rules import check_starters
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.rules import RULES
from sagebridge.formats.sagemaker.rules.definition import Definition, Problem
from sagebridge.formats.sagemaker.rules.envelope_rules import MAX_SIZE, check_document
from sagebridge.formats.sagemaker.source import open_source
from sagebridge.model.display import shown
from sagebridge.model.visit import unescape

UNREADABLE = "unreadable-source"


def validate(source: Any) -> tuple[Finding, ...]:
    """The findings of a source, in the order of the document.

    If the source cannot be opened, that is the only finding. Pointers are relative to the
    definition, also if it is inside a request. For malformed JSON the pointer is a position such
    as ``line 1, column 108`` in that JSON.
    """
    try:
        document = open_source(source)
    except MalformedJson as error:
        position = f"line {error.line}, column {error.column}"
        line = error.holder or error.line
        column = 1 if error.holder else error.column
        return (Finding("malformed-json", "error", position, line, error.reason, column),)
    except SourceError as error:
        return (unreadable(error),)
    return validate_document(document)


def unreadable(error: SourceError) -> Finding:
    """The finding for a source that cannot be read."""
    code = "not-a-pipeline" if isinstance(error, NotAPipeline) else UNREADABLE
    message = f"{error.problem}; {error.fix}" if error.fix else error.problem
    return Finding(code, "error", "", getattr(error, "line", None) or 1, message)


def validate_document(document: Document) -> tuple[Finding, ...]:
    """The findings of an open document.

    A string that contains a variable of a CloudFormation template has no findings, since its value
    is not known.
    """
    problems = {one for one in _problems(document) if not _is_variable(document, one.pointer)}
    ordered = sorted(problems, key=lambda one: (document.offset(one.pointer), *one))
    found = (_finding(document, one) for one in ordered)
    return (*found, *_schedule_findings(document))


def _finding(document: Document, problem: Problem) -> Finding:
    line, column = document.place(problem.pointer)
    return Finding(problem.code, problem.severity, problem.pointer, line, problem.message, column)


def _schedule_findings(document: Document) -> Iterator[Finding]:
    """The findings of what starts the pipeline, with the line of its name in the document."""
    parameters = None
    if not document.starters_only:
        raw = Definition(document.value).parameters.values()
        parameters = [found for each in raw if (found := read_parameter(each)) is not None]
    text = (document.outer or document).text
    for one in check_starters(document.schedules, document.event_triggers, parameters):
        if not any(variable in str(one.value) for variable in document.variables):
            line = text.count("\n", 0, max(0, text.find(json.dumps(one.name)))) + 1
            yield Finding(one.code, one.severity, "", line, one.message)


def _problems(document: Document) -> Iterator[Problem]:
    if document.starters_only:
        what = "the document has only schedules and triggers"
        yield Problem("no-steps", "", f"{what}; add them to a pipeline with --schedules", "warning")
        return
    definition = Definition(document.value)
    for pointer in document.repeated:
        key = shown(unescape(pointer.rpartition("/")[2]))
        yield Problem(
            "duplicate-member",
            pointer,
            f"the key {key} is repeated in one object; only the last value is used",
            "warning",
        )
    yield from check_document(document.envelope, _size(document))
    for rule in RULES:
        yield from rule(definition)


def _is_variable(document: Document, pointer: str) -> bool:
    """Whether the value at a pointer is a string with a variable in it."""
    if not document.variables:
        return False
    value = document.value
    for token in pointer.split("/")[1:]:
        try:
            value = value[int(token) if isinstance(value, list) else unescape(token)]
        except (LookupError, TypeError, ValueError):
            return False
    return isinstance(value, str) and any(one in value for one in document.variables)


def _size(document: Document) -> int:
    """The characters of the definition without layout."""
    if len(document.text) <= MAX_SIZE:
        return len(document.text)
    return len(json.dumps(document.value, ensure_ascii=False, separators=(",", ":")))
