"""Replace strings in a pipeline (``--map``): other accounts, roles, buckets and images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import cast

from sagebridge.model.expressions import Get
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import Object, Value

_NAMES = frozenset(
    (
        "cache",
        "depends_on",
        "function",
        "key_order",
        "name",
        "on",
        "origin",
        "output_parameters",
        "path",
        "property_files",
        "retry_policies",
        "spelling",
        "type",
        "version",
    )
)
"""Fields of the model that name or select something; they are never changed."""
_KEYS = frozenset(("ChannelName", "CheckType", "InputName", "OutputName"))
"""Keys whose values references use as names, and CheckType, which selects the kind of check."""


def rewrite(pipeline: Pipeline, mapping: Mapping[str, str]) -> tuple[Pipeline, tuple[str, ...]]:
    """Replace the keys of ``mapping`` in all string values; also return the keys not found.

    The parts of a Join are values too. References, keys, and names of steps and parameters are not
    changed. The longest key wins. Replaced strings are not searched again.
    """
    if not mapping:
        return pipeline, ()
    longest_first = sorted(mapping, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    used: set[str] = set()

    def replacement(match: re.Match[str]) -> str:
        used.add(match[0])
        return mapping[match[0]]

    def walk(value: Value) -> Value:
        match value:
            case str():
                return pattern.sub(replacement, value)
            case Get():
                return value
            case Mapping():
                return Object(
                    {name: item if name in _KEYS else walk(item) for name, item in value.items()}
                )
            case list() | tuple():
                return tuple(walk(item) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(value) if field.name not in _NAMES]
            return replace(value, **{name: walk(getattr(value, name)) for name in names})
        return value

    changed = cast("Pipeline", walk(pipeline))
    return changed, tuple(old for old in mapping if old not in used)
