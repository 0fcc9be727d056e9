"""Moving a pipeline to another stage: other accounts, roles, buckets and images."""

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
"""Fields of the model that name or choose something, whose text no mapping changes."""
_KEYS = frozenset(("ChannelName", "CheckType", "InputName", "OutputName"))
"""Members by whose values references find their way, and one that chooses."""


def rewrite(pipeline: Pipeline, mapping: Mapping[str, str]) -> tuple[Pipeline, tuple[str, ...]]:
    """A pipeline with texts replaced in all its values, and the texts that it does not have.

    Parts of a Join are values too. Names of steps, parameters and members, and references, stay.
    Where several texts match at one place the longest counts; what was put in is not looked at
    again.
    """
    if not mapping:
        return pipeline, ()
    longest_first = sorted(mapping, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    used: set[str] = set()

    def put(match: re.Match[str]) -> str:
        used.add(match[0])
        return mapping[match[0]]

    def walk(value: Value) -> Value:
        match value:
            case str():
                return pattern.sub(put, value)
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

    moved = cast("Pipeline", walk(pipeline))
    return moved, tuple(old for old in mapping if old not in used)
