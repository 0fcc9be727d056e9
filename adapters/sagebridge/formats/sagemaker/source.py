"""Open SageMaker sources: files, JSON strings, documents, and pipelines of the SDK.

A definition may be inside a CreatePipeline request, a DescribePipeline response
(``PipelineDefinition``) or a CloudFormation template.

This module does not import the SageMaker SDK: a pipeline of version 2 or 3 is any object with a
method ``definition()``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sagebridge.authoring.definition_reader import read_definition
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.authoring.json_document import Document, MalformedJson, NotAPipeline, kind, parse
from sagebridge.errors import SourceError
from sagebridge.formats.sagemaker.cloudformation import NoPipeline, is_template, resource_of
from sagebridge.formats.sagemaker.cloudformation_yaml import json_of
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import VERSION, Pipeline

_RESPONSE_ONLY = (
    "PipelineArn",
    "PipelineStatus",
    "CreationTime",
    "LastModifiedTime",
    "LastRunTime",
    "CreatedBy",
    "LastModifiedBy",
    "ResponseMetadata",
)
_ATTRIBUTE = re.compile(r"(?P<module>[\w./\\-]{1,200}):(?P<attribute>[A-Za-z_][\w.]*)\Z")


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """A pipeline and the losses of reading it. Raises :class:`SourceError`."""
    return pipeline_of(open_source(source))


def pipeline_of(document: Document) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of an open document. Without ``PipelineName`` it is named after its file."""
    pipeline, losses = read_definition(document)
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
            return open_document(_decode(sys.stdin.buffer.read(), "<stdin>"), "<stdin>")
        if not source.strip() or source.lstrip()[0] in "{[":
            return open_document(source, "<text>")
        head, sign, wanted = source.rpartition("#")
        named = head if sign else source
        if (match := _ATTRIBUTE.match(named)) and not Path(source).exists():
            document = _open_object(_load(named, match["module"], match["attribute"]), named)
            return _chosen(document, wanted) if sign else document
        return _open_file(Path(source))
    return _open_object(source, f"<{type(source).__name__}>")


def _open_file(path: Path) -> Document:
    """Open a file. ``file#NAME`` names its pipeline, in a template by its logical id."""
    wanted = None
    if "#" in path.name and not path.exists():
        name, _, wanted = path.name.rpartition("#")
        path = path.with_name(name) if name else path
    text = _text_of(path)
    if path.suffix in (".yaml", ".yml"):
        text = json_of(text, str(path))
    document = open_document(text, str(path), wanted or "")
    return document if wanted is None else _chosen(document, wanted)


def _chosen(document: Document, wanted: str) -> Document:
    """The document, if its pipeline has that name, or that logical id in a template."""
    holder = document.outer or document
    if is_template(holder.value) and wanted:
        return document
    own = document.envelope.get("PipelineName") or _stem(document)
    if wanted != own:
        raise SourceError(holder.source, f"no pipeline {wanted!r}", f"the file has {own!r}")
    return document


def open_document(text: str, source: str, resource: str = "") -> Document:
    """Open the definition in a JSON string. The document keeps the other fields of a request.

    ``resource`` is the logical id of a pipeline in a CloudFormation template.
    """
    return unwrap(parse(text, source), resource)


def unwrap(document: Document, resource: str = "") -> Document:
    value = document.value
    if not isinstance(value, dict):
        raise NotAPipeline(
            document.source,
            f"expected an object with Version and Steps, got {kind(value)}",
        )
    if "Steps" in value or value.get("Version") == VERSION:
        return document
    if is_template(value):
        try:
            found = resource_of(value, resource)
        except NoPipeline as error:
            raise NotAPipeline(document.source, str(error), error.fix) from None
        definition = _inner(document, found.definition, found.pointer, found.envelope, found.losses)
        return replace(definition, variables=found.variables)
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
    keys = ", ".join(shown(name) for name in list(value)[:5]) or "none"
    raise NotAPipeline(
        document.source,
        f"not a pipeline definition; its keys: {keys}",
        "expected Steps, or PipelineDefinition as in a Create/DescribePipeline document",
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


def _open_object(value: Any, source: str) -> Document:
    if isinstance(value, Mapping):
        try:
            text = json.dumps(value, indent=2, allow_nan=False, default=_boto3_value)
        except (TypeError, ValueError, RecursionError) as error:
            raise SourceError(source, f"not JSON: {error}") from None
        return open_document(text, source)
    if isinstance(value, Pipeline):
        return replace(open_document(write(value)[0], source), envelope=write_envelope(value))
    if callable(getattr(value, "definition", None)):
        document = _open_definition(_called(value.definition, "definition()", source), source)
        name = getattr(value, "name", None)
        return replace(document, envelope={"PipelineName": name, **document.envelope})
    if callable(value):
        return _open_object(_called(value, "the call", source), source)
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


def _called(function: Callable[[], Any], what: str, source: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise SourceError(source, f"{what} raised {type(error).__name__}: {error}") from error


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(source, f"not UTF-8 (byte {error.start})") from None


def _text_of(path: Path) -> str:
    try:
        return _decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise SourceError(str(path), f"no such file (looked in {Path.cwd()})") from None
    except IsADirectoryError:
        raise SourceError(str(path), "is a folder; expected a file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(str(path), f"cannot be opened: {reason}") from None


def _load(source: str, module: str, attribute: str) -> Any:
    """The attribute of a module. Importing the module runs its code."""
    try:
        if module.endswith(".py"):
            found: Any = _import_file(Path(module), source)
        else:
            sys.path.insert(0, str(Path.cwd()))
            try:
                found = importlib.import_module(module)
            finally:
                sys.path.remove(str(Path.cwd()))
    except ModuleNotFoundError as error:
        raise SourceError(
            source,
            f"the import needs the module {error.name!r}",
            "install it in this environment",
        ) from error
    except SourceError:
        raise
    except (Exception, SystemExit) as error:
        fix = "set AWS_DEFAULT_REGION" if type(error).__name__ == "NoRegionError" else ""
        problem = f"raised on import: {type(error).__name__}: {error}"
        raise SourceError(source, problem, fix) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise SourceError(source, f"{module} has no attribute {name!r}") from None
    return found


def _import_file(path: Path, source: str) -> Any:
    if not path.is_file():
        raise SourceError(source, f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(f"_sagebridge_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SourceError(source, f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module
