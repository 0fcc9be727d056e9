"""Open SageMaker sources: files, JSON strings, documents, and pipelines of the SDK.

A definition may be inside a CreatePipeline request, a DescribePipeline response
(``PipelineDefinition``) or a CloudFormation template. A document of EventBridge is a pipeline
without steps, which has only schedules and event triggers.

This module does not import the SageMaker SDK: a pipeline of version 2 or 3 is any object with a
method ``definition()``.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sagebridge.authoring.definition_reader import read_definition
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.authoring.json_document import (
    MAX_BYTES,
    Document,
    MalformedJson,
    NotAPipeline,
    kind,
    parse,
    read_bytes,
    source_name,
)
from sagebridge.authoring.python_files import sdk_pipelines
from sagebridge.authoring.scheduled_pipeline import with_schedules
from sagebridge.errors import SourceError
from sagebridge.formats.sagemaker.cloudformation import (
    NoPipeline,
    defaults_of,
    has_pipeline,
    is_template,
    resource_of,
)
from sagebridge.formats.sagemaker.cloudformation_schedules import read_alone
from sagebridge.formats.sagemaker.cloudformation_yaml import json_of
from sagebridge.formats.sagemaker.eventbridge import (
    NoSchedules,
    Starters,
    is_eventbridge,
    read_document,
)
from sagebridge.formats.sagemaker.foreign_files import ForeignFile, foreign_kind
from sagebridge.formats.sagemaker.python_source import ARGUMENTS, call, load
from sagebridge.formats.sagemaker.sdk_triggers import TriggerReader, triggers_of
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.display import shown, words
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import VERSION, Pipeline
from sagebridge.model.schedules import Schedule

_RESPONSE_ONLY = words(
    "PipelineArn PipelineStatus CreationTime LastModifiedTime LastRunTime CreatedBy "
    "LastModifiedBy ResponseMetadata"
)
_ATTRIBUTE = re.compile(r"(?P<module>[\w./\\-]{1,200}):(?P<attribute>[A-Za-z_][\w.]*)\Z")


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """A pipeline and the losses of reading it. Raises :class:`SourceError`."""
    return pipeline_of(open_source(source))


def pipeline_of(document: Document) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of an open document. Without ``PipelineName`` it is named after its file."""
    pipeline, losses = read_definition(document)
    pipeline = with_schedules(pipeline, pipeline)  # their parameters get the declared types
    name = _stem(document) if pipeline.name is None else pipeline.name
    return replace(pipeline, name=name, origin="a SageMaker pipeline definition"), losses


def _stem(document: Document) -> str | None:
    stem = Path((document.outer or document).source).stem
    return None if stem.startswith("<") else stem


def open_source(source: Any) -> Document:
    """Open a file name, ``module:attribute``, JSON string, document or SDK pipeline."""
    if isinstance(source, Path):
        return _open_file(source)
    if isinstance(source, str):
        if source == "-":
            text = _decode(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
            return open_document(text, "<stdin>")
        if source_name(source) != source:
            return open_document(source, "<text>")
        head, sign, wanted = source.rpartition("#")
        named = head if sign else source
        if (match := _ATTRIBUTE.match(named)) and not _exists(Path(source)):
            document = _open_named(named, match["module"], match["attribute"])
            return _chosen(document, wanted) if sign else document
        return _open_file(Path(source))
    return _open_object(source, f"<{type(source).__name__}>")


def _open_file(path: Path) -> Document:
    """Open a file. ``file#NAME`` names its pipeline, in a template by its logical id."""
    wanted = None
    if "#" in path.name and not _exists(path):
        name, _, wanted = path.name.rpartition("#")
        path = path.with_name(name) if name else path
    text = _text_of(path)
    if path.suffix == ".py":
        raise _not_named(path, text)
    if path.suffix in (".yaml", ".yml"):
        text = json_of(text, str(path))
    document = open_document(text, str(path), wanted or "")
    return document if wanted is None else _chosen(document, wanted)


def _chosen(document: Document, wanted: str) -> Document:
    """The document, if its pipeline has that name, or that logical id in a template."""
    holder = document.outer or document
    if wanted and (document.starters_only or is_template(holder.value)):
        return document
    own = document.envelope.get("PipelineName") or _stem(document)
    if wanted != own:
        raise SourceError(holder.source, f"no pipeline {wanted!r}", f"the file has {own!r}")
    return document


def skip_reason(file: Path) -> str:
    """Why a JSON or YAML file in a folder is not a source; empty if it is, or is malformed."""
    try:
        text = _text_of(file)
        if file.suffix in (".yaml", ".yml"):
            text = json_of(text, str(file))
        if unwrap(Document(str(file), text, json.loads(text))).starters_only:
            return "has only schedules and triggers; add them to a pipeline with --schedules"
    except NotAPipeline as error:
        return error.problem
    except (SourceError, ValueError, RecursionError):
        return ""
    return ""


def open_document(text: str, source: str, resource: str = "") -> Document:
    """Open the definition in a JSON string. The document keeps the other fields of a request.

    ``resource`` is the logical id of a pipeline in a CloudFormation template.
    """
    return unwrap(parse(text, source), resource)


def unwrap(document: Document, resource: str = "") -> Document:
    value = document.value
    if is_eventbridge(value):
        try:
            return _starters(document, read_document(value, resource))
        except NoSchedules as error:
            raise NotAPipeline(document.source, str(error), error.fix) from None
    if not isinstance(value, dict):
        raise NotAPipeline(
            document.source,
            f"expected an object with Version and Steps, got {kind(value)}",
        )
    if "Steps" in value or value.get("Version") == VERSION:
        return document
    if is_template(value):
        if not has_pipeline(value):
            try:
                return _starters(document, read_alone(value, defaults_of(value), resource))
            except NoSchedules as error:
                if error.fix:
                    raise NotAPipeline(document.source, str(error), error.fix) from None
        try:
            found = resource_of(value, resource)
        except NoPipeline as error:
            raise NotAPipeline(document.source, str(error), error.fix) from None
        definition = _inner(document, found.definition, found.pointer, found.envelope, found.losses)
        return replace(
            definition,
            variables=found.variables,
            schedules=found.starters.schedules,
            event_triggers=found.starters.event_triggers,
        )
    inner = value.get("PipelineDefinition")
    if isinstance(inner, str):
        dropped = ("PipelineDefinition", *_RESPONSE_ONLY)
        envelope = {name: item for name, item in value.items() if name not in dropped}
        losses = tuple(_response_fields(value, document.source))
        return _inner(document, inner, "/PipelineDefinition", envelope, losses)
    if "PipelineDefinitionS3Location" in value:
        raise NotAPipeline(
            document.source,
            "the definition is in S3 (PipelineDefinitionS3Location), not in this document",
            "download that object and use it as the source",
        )
    if known := foreign_kind(value):
        raise ForeignFile(document.source, known)
    keys = ", ".join(shown(name) for name in list(value)[:5]) or "none"
    raise NotAPipeline(
        document.source,
        f"not a pipeline definition; its keys: {keys}",
        "expected Steps, or PipelineDefinition as in a Create/DescribePipeline document",
    )


def _starters(document: Document, found: Starters) -> Document:
    """The document of schedules, rules and pipes without their pipeline."""
    result = _without_steps(
        document.source, found.pipeline, found.schedules, found.event_triggers, found.losses
    )
    return replace(result, outer=document, inside="")


def _without_steps(
    source: str,
    name: str,
    schedules: Sequence[Schedule],
    triggers: Sequence[EventTrigger],
    losses: Sequence[Loss],
) -> Document:
    """A definition without steps, for what starts a pipeline that is not in the source."""
    text = json.dumps({"Version": VERSION, "Steps": []})
    return Document(
        source,
        text,
        json.loads(text),
        envelope={"PipelineName": name},
        losses=tuple(losses),
        schedules=tuple(schedules),
        event_triggers=tuple(triggers),
        starters_only=True,
    )


def _response_fields(value: Mapping[str, Any], source: str) -> Iterator[Loss]:
    """The fields of a DescribePipeline response that SageMaker sets itself."""
    if names := [name for name in _RESPONSE_ONLY if name in value]:
        what = f"fields that SageMaker sets are not carried over: {', '.join(names)}"
        yield Loss("beside-definition", "info", source, what, "sagemaker")


def _inner(
    outer: Document,
    text: str,
    pointer: str,
    envelope: dict[str, Any],
    losses: tuple[Loss, ...] = (),
) -> Document:
    """The document of a definition that is a string in another document."""
    source = f"{outer.source}#{pointer}"
    try:
        parsed = parse(text, source)
        if not isinstance(parsed.value, dict):
            raise NotAPipeline(source, "the string is not a pipeline definition")
    except MalformedJson as error:
        error.holder = outer.line(pointer)
        raise
    except NotAPipeline as error:
        error.line = outer.line(pointer)
        raise
    return replace(parsed, envelope=envelope, outer=outer, inside=pointer, losses=losses)


def _open_named(source: str, module: str, attribute: str) -> Document:
    found, imported = load(source, module, attribute)
    if ARGUMENTS.get({}) and (not callable(found) or hasattr(found, "definition")):
        fix = "omit --arg, or name a function"
        raise SourceError(source, "it is not a function, so it has no arguments", fix)
    if triggers := triggers_of(found):
        reader = TriggerReader(source, attribute, call)
        reader.add(triggers)
        return _without_steps(source, attribute, reader.schedules, (), reader.losses)
    document = _open_object(found, source)
    if document.schedules or not hasattr(imported, "__file__"):
        return document
    reader = TriggerReader(source, document.envelope.get("PipelineName") or attribute, call)
    reader.add_calls(imported, attribute)
    losses = (*document.losses, *reader.losses)
    return replace(document, schedules=tuple(reader.schedules), losses=losses)


def _open_object(value: Any, source: str) -> Document:
    if isinstance(value, Mapping) or is_eventbridge(value):
        try:
            text = json.dumps(value, indent=2, allow_nan=False, default=_boto3_value)
        except (TypeError, ValueError, RecursionError) as error:
            raise SourceError(source, f"not JSON: {error}") from None
        return open_document(text, source)
    if isinstance(value, Pipeline):
        return replace(
            open_document(write(value)[0], source),
            envelope=write_envelope(value),
            schedules=value.schedules,
            event_triggers=value.event_triggers,
        )
    if callable(getattr(value, "definition", None)):
        document = _open_definition(call(value.definition, "definition()", source), source)
        name = getattr(value, "name", None)
        reader = TriggerReader(source, str(name or "schedule"), call)
        reader.add_recorded(value)
        return replace(
            document,
            envelope={"PipelineName": name, **document.envelope},
            schedules=tuple(reader.schedules),
            losses=(*document.losses, *reader.losses),
        )
    if callable(value):
        return _open_object(call(value, "the call", source, given=True), source)
    raise SourceError(
        source,
        f"expected a pipeline, got an object of type {type(value).__name__}",
        "use a definition file or a Pipeline of the SageMaker SDK (an object with definition())",
    )


def _open_definition(value: Any, source: str) -> Document:
    return open_document(value, source) if isinstance(value, str) else _open_object(value, source)


def _boto3_value(value: Any) -> str:
    """A time of a DescribePipeline response, in the format of the AWS CLI."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(source, f"not UTF-8 (byte {error.start})") from None


def _not_named(path: Path, text: str) -> SourceError:
    """The error for a Python file without ``:NAME``."""
    names: list[str] = []
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        names = sdk_pipelines(ast.parse(text))
    fix = " or ".join(f"{path}:{name}" for name in names or ["NAME"])
    return SourceError(str(path), "is a Python file", f"name its pipeline: {fix}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long or has null bytes
        return False


def _text_of(path: Path) -> str:
    try:
        return _decode(read_bytes(path), str(path))
    except FileNotFoundError:
        raise SourceError(str(path), f"no such file (looked in {Path.cwd()})") from None
    except IsADirectoryError:
        raise SourceError(str(path), "is a folder; expected a file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(str(path)[:200], f"cannot be opened: {reason}") from None
