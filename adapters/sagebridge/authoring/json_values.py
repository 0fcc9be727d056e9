"""Arguments whose values pydantic makes from JSON, as Prefect does: dates, sets, models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import NoneType
from typing import Any, get_args

from sagebridge.authoring.value_types import TYPES, ValueType, json_schema
from sagebridge.model.limits import unmet
from sagebridge.model.values import ABSENT, EMPTY

_JSON = {"string": "str", "array": "list", "object": "dict"}
_DROPPED = ("$defs", "default", "title")
_DEEPEST = 10
"""Limit for models in models, which may contain themselves."""


def json_of(hint: Any, type_: ValueType, default: Any) -> tuple[ValueType, Any]:
    """The type of an argument with its JSON schema, and the default as JSON.

    Both are unchanged if the values are plain JSON, if JSON cannot express them, and for secrets,
    which no step may return.
    """
    inner = [one for one in get_args(hint) if one is not NoneType]
    inner = inner if type_.nullable and len(inner) == 1 else [hint]
    if json_schema(inner[0]) is not None:
        return type_, default
    try:
        from pydantic import TypeAdapter  # Prefect's

        adapter: Any = TypeAdapter(hint)
        schema = kind_of(flat_schema(adapter.json_schema()), decimal=inner == [Decimal])
        given = default
        if default is not ABSENT and default is not None:
            given = adapter.dump_python(default, mode="json", by_alias=True, warnings=False)
            if type(made := adapter.validate_python(given)) is not type(default) or made != default:
                return type_, default
    except Exception:  # noqa: BLE001 - classes of users have code
        return type_, default
    if schema is None or schema.get("type") not in _JSON or "'writeOnly'" in repr(schema):
        return type_, default
    if isinstance(given, list) and isinstance(default, set | frozenset):
        given = sorted(given, key=repr)
    found = replace(type_, json=_JSON[schema["type"]], converted=True)
    limited = found.with_limits(schema)
    known = given is not ABSENT and given is not None
    if known and any(unmet(TYPES[found.json], limited.limits, given)):
        return found, given  # such as a time without a zone
    return limited, given


def flat_schema(schema: Any, definitions: Mapping[str, Any] = EMPTY, depth: int = 0) -> Any:
    """A schema without references to ``definitions``, titles and defaults."""
    if isinstance(schema, list):
        return [flat_schema(one, definitions, depth) for one in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", definitions)
    if name := schema.get("$ref", "").rpartition("/")[2]:
        inner = definitions[name] if depth < _DEEPEST else {}
        return flat_schema(inner, definitions, depth + 1)
    return {
        key: {name: flat_schema(one, definitions, depth) for name, one in value.items()}
        if key == "properties"
        else flat_schema(value, definitions, depth)
        for key, value in schema.items()
        if key not in _DROPPED
    }


def kind_of(schema: Mapping[str, Any], *, decimal: bool = True) -> Mapping[str, Any] | None:
    """The schema of the values other than null; None if they have several types.

    A ``decimal`` may be a number or a string.
    """
    kinds = [one for one in schema.get("anyOf", (schema,)) if one.get("type") != "null"]
    if decimal and [one.get("type") for one in kinds] == ["number", "string"]:
        del kinds[0]
    return kinds[0] if len(kinds) == 1 else None
