"""Requests as people may see them: environment values are masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MASK = "***"


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
