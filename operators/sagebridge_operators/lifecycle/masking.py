"""Masks secrets in requests and in the service's error messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.model.visit import nodes

MASK = "***"
_SHORT = 4
"""Shorter strings are not masked in messages, where they occur for other reasons."""


def mask(value: Any) -> Any:
    """A copy of a request with all values in its ``Environment`` objects masked."""
    match value:
        case Mapping():
            return {
                name: dict.fromkeys(item, MASK)
                if name == "Environment" and isinstance(item, Mapping)
                else mask(item)
                for name, item in value.items()
            }
        case list() | tuple():
            return [mask(item) for item in value]
    return value


def mask_text(text: str, request: Mapping[str, Any]) -> str:
    """An error message about a request, with quoted environment values masked."""
    for value in sorted(set(_secrets(request)), key=len, reverse=True):
        if len(value) >= _SHORT:
            text = text.replace(value, MASK)
    return text


def _secrets(value: Any) -> Iterator[str]:
    for node in nodes(value):
        if isinstance(node, Mapping) and isinstance(node.get("Environment"), Mapping):
            yield from map(str, node["Environment"].values())
