"""The definition inside a JSON document.

A definition comes bare, or as a string inside a CreatePipeline request, a DescribePipeline
response (``PipelineDefinition``) or a CloudFormation template.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagebridge.authoring.json_document import (
    Document,
    MalformedJson,
    NotAPipeline,
    kind,
    parse,
)
from sagebridge.formats.sagemaker.cloudformation import NoPipeline, is_template, resource_of
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import VERSION


def open_document(text: str, source: str, resource: str = "") -> Document:
    """The definition inside a text, its envelope (Create/DescribePipeline) kept beside it.

    ``resource`` is the logical id of a pipeline in a CloudFormation template.
    """
    return unwrap(parse(text, source), resource)


def unwrap(document: Document, resource: str = "") -> Document:
    value = document.value
    if not isinstance(value, dict):
        raise NotAPipeline(
            document.source,
            f"{kind(value)} is no pipeline",
            "an object with Version and Steps is expected",
        )
    if "Steps" in value or value.get("Version") == VERSION:
        return document
    if is_template(value):
        try:
            found = resource_of(value, resource)
        except NoPipeline as error:
            raise NotAPipeline(document.source, str(error), error.fix) from None
        return _inner(document, found.definition, found.pointer, found.envelope, found.losses)
    inner = value.get("PipelineDefinition")
    if isinstance(inner, str):
        envelope = {name: item for name, item in value.items() if name != "PipelineDefinition"}
        return _inner(document, inner, "/PipelineDefinition", envelope)
    if "PipelineDefinitionS3Location" in value:
        raise NotAPipeline(
            document.source,
            "the definition lies in S3 (PipelineDefinitionS3Location), not in this document",
            "fetch that object and name it instead",
        )
    there = ", ".join(shown(name) for name in list(value)[:5]) or "no members"
    raise NotAPipeline(
        document.source,
        f"no pipeline definition: it has {there}",
        "Steps, or PipelineDefinition of a Create/DescribePipeline document, is expected",
    )


def _inner(
    outer: Document,
    text: str,
    pointer: str,
    envelope: dict[str, Any],
    losses: tuple[Loss, ...] = (),
) -> Document:
    """The definition that a text in a document is."""
    source = f"{outer.source}#{pointer}"
    try:
        parsed = parse(text, source)
        if not isinstance(parsed.value, dict):
            raise NotAPipeline(source, "the string is no pipeline definition")
    except MalformedJson as error:
        error.holder = outer.line(pointer)
        raise
    except NotAPipeline as error:
        error.line = outer.line(pointer)
        raise
    return replace(parsed, envelope=envelope, outer=outer, inside=pointer, losses=losses)
