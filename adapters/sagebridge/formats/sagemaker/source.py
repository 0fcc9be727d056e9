"""What ``read`` takes as a SageMaker source: files, texts, documents, SDK pipelines.

The SageMaker SDK is never imported here: a pipeline object of version 2 or 3 is anything with a
``definition()``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagebridge.errors import SourceError
from sagebridge.formats.sagemaker.document import Document, open_document, unwrap
from sagebridge.formats.sagemaker.reader import read_definition
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

_ATTRIBUTE = re.compile(r"(?P<module>[\w./\\-]+):(?P<attribute>[A-Za-z_][\w.]*)\Z")


def read(source: Any) -> tuple[Pipeline, tuple[Loss, ...]]:
    """A pipeline and the losses of reading it. Raises :class:`SourceError`."""
    return pipeline_of(open_source(source))


def pipeline_of(document: Document) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline of an opened document, named by the document, else by its file's stem."""
    try:
        pipeline, losses = read_definition(document)
    except RecursionError:
        raise SourceError(document.source, "nested too deeply to be read") from None
    if pipeline.name is None:
        stem = Path(document.source.partition("#")[0]).stem
        pipeline = replace(pipeline, name=stem if not stem.startswith("<") else None)
    return pipeline, losses


def open_source(source: Any) -> Document:
    """A file name, ``module:attribute``, JSON text, document or SDK pipeline, opened."""
    if isinstance(source, Path):
        return open_document(_text_of(source), str(source))
    if isinstance(source, str):
        if source.lstrip().startswith("{"):
            return open_document(source, "<text>")
        if source == "-":
            return open_document(sys.stdin.read(), "<stdin>")
        if not Path(source).exists() and (match := _ATTRIBUTE.match(source)):
            return _open_object(_load(source, match["module"], match["attribute"]), source)
        return open_document(_text_of(Path(source)), source)
    return _open_object(source, f"<{type(source).__name__}>")


def _open_object(value: Any, source: str) -> Document:
    if isinstance(value, Mapping):
        try:
            return unwrap(
                Document(source, json.dumps(value, indent=2), json.loads(json.dumps(value)))
            )
        except (TypeError, ValueError) as error:
            raise SourceError(source, f"no JSON: {error}") from None
    if callable(getattr(value, "definition", None)):
        text = value.definition()
        document = open_document(text, source)
        name = getattr(value, "name", None)
        return replace(document, envelope={"PipelineName": name, **document.envelope})
    if callable(value):
        return _open_object(value(), source)
    raise SourceError(
        source,
        f"a {type(value).__name__} is no pipeline",
        "name a definition file, or a SageMaker SDK Pipeline (an object with a definition())",
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceError(str(path), f"no such file (looked in {Path.cwd()})") from None
    except IsADirectoryError:
        raise SourceError(str(path), "a folder, not a file") from None
    except UnicodeDecodeError as error:
        raise SourceError(str(path), f"not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error)) from None


def _load(source: str, module: str, attribute: str) -> Any:
    """The attribute of a module, which is imported: its code runs, as Python's import does."""
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
            f"importing it needs the module {error.name!r}",
            "install it in this environment",
        ) from error
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(source, f"raised on import: {type(error).__name__}: {error}") from error
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
        raise SourceError(source, f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module
