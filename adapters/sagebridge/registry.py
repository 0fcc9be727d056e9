"""The formats, one line each, loaded when first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from sagebridge.errors import FormatError
from sagebridge.model.losses import Loss
from sagebridge.model.names import did_you_mean
from sagebridge.model.pipeline import Pipeline

Reader = Callable[[Any], tuple[Pipeline, tuple[Loss, ...]]]
Writer = Callable[[Pipeline], tuple[str, tuple[Loss, ...]]]


@dataclass(frozen=True, slots=True)
class Format:
    """``read`` and ``write`` name a function as ``module:function``."""

    name: str
    read: str
    write: str

    def reader(self) -> Reader:
        return cast("Reader", _load(self.read))

    def writer(self) -> Writer:
        return cast("Writer", _load(self.write))


FORMATS = {
    format_.name: format_
    for format_ in (
        Format(
            "sagemaker",
            "sagebridge.formats.sagemaker.source:read",
            "sagebridge.formats.sagemaker.writer:write",
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
