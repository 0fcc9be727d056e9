"""Requests, and what a service says of them, as people may see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.model.visit import nodes

MASK = "***"
_SHORT = 4
"""Texts below this length are no secrets, and stand in messages for other reasons."""


def masked(value: Any) -> Any:
    """A copy of a request whose every ``Environment`` keeps its names and loses its values."""
    match value:
        case Mapping():
            return {
                name: dict.fromkeys(item, MASK)
                if name == "Environment" and isinstance(item, Mapping)
                else masked(item)
                for name, item in value.items()
            }
        case list() | tuple():
            return [masked(item) for item in value]
    return value


def masked_text(text: str, request: Mapping[str, Any]) -> str:
    """A message on a request, which may quote it, without the values of its environments."""
    for value in sorted(set(_secrets(request)), key=len, reverse=True):
        if len(value) >= _SHORT:
            text = text.replace(value, MASK)
    return text


def _secrets(value: Any) -> Iterator[str]:
    for node in nodes(value):
        if isinstance(node, Mapping) and isinstance(node.get("Environment"), Mapping):
            yield from map(str, node["Environment"].values())
