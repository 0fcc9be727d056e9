"""The formats, one line each, loaded when first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

from sagebridge.errors import FormatError
from sagebridge.model.losses import Loss
from sagebridge.model.names import did_you_mean
from sagebridge.model.pipeline import Pipeline

Reader = Callable[[Any], tuple[Pipeline, tuple[Loss, ...]]]
Writer = Callable[[Pipeline], tuple[str, tuple[Loss, ...]]]


@dataclass(frozen=True, slots=True)
class Format:
    """``read``, ``read_all`` and ``write`` name a function as ``module:function``.

    ``read_all`` reads a file that may hold several pipelines. ``documents`` are the writers of the
    format's other forms; ``suffix`` is that of its files.
    """

    name: str
    read: str
    write: str
    suffix: str
    read_all: str = ""
    documents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def reader(self) -> Reader:
        return cast("Reader", _load(self.read))

    def readings(self, source: Any) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
        """Every pipeline of a source, with the losses of reading it."""
        if not self.read_all:
            return [self.reader()(source)]
        return list(_load(self.read_all)(source))

    def writer(self, document: str | None = None) -> Writer:
        """The writer of the format, or of one of its documents. Raises :class:`FormatError`."""
        if document is None:
            return cast("Writer", _load(self.write))
        if document not in self.documents:
            there = f"there are {', '.join(self.documents)}" if self.documents else "it has none"
            raise FormatError(f"{self.name} has no document {document!r} ({there})")
        return cast("Writer", _load(self.documents[document]))


FORMATS = {
    format_.name: format_
    for format_ in (
        Format(
            "sagemaker",
            "sagebridge.formats.sagemaker.source:read",
            "sagebridge.formats.sagemaker.writer:write",
            ".json",
            documents=MappingProxyType(
                {
                    "definition": "sagebridge.formats.sagemaker.writer:write",
                    "create-pipeline": "sagebridge.formats.sagemaker.documents:write_request",
                    "cloudformation": "sagebridge.formats.sagemaker.documents:write_template",
                }
            ),
        ),
        Format(
            "airflow",
            "sagebridge.formats.airflow.reader:read",
            "sagebridge.formats.airflow.writer:write",
            ".py",
        ),
    )
}


def find(name: str) -> Format:
    """The format of that name. Raises :class:`FormatError` that names those there are."""
    if name in FORMATS:
        return FORMATS[name]
    hint = did_you_mean(name, FORMATS) or f" (there are {', '.join(FORMATS)})"
    raise FormatError(f"unknown format {name!r}{hint}")


def detect(source: Any) -> Format:
    """The format that a source is in."""
    del source
    return FORMATS["sagemaker"]


def _load(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
