"""Limits of a parameter's values: JSON Schema's keywords other than ``type`` and ``enum``.

Airflow's Params have the same keywords. Prefect's flows have pydantic's ``Field(ge=1)``, and
``Field(json_schema_extra={"format": "date"})`` for those that it does not have.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sagebridge.model.display import shown
from sagebridge.model.values import thaw


class _Limit(NamedTuple):
    """``argument`` is that of pydantic's Field; ``text`` describes the values that are allowed."""

    argument: str
    met: Callable[[Any, Any], bool]
    text: str


def _is_multiple(value: float, step: float) -> bool:
    # As in jsonschema's multipleOf (jsonschema/_keywords.py), which Airflow and Prefect's API use.
    if isinstance(step, int):
        return not value % step
    try:
        return (value / step).is_integer()
    except OverflowError:  # an integer that no float can hold
        return False


_OF_NUMBERS = {
    "minimum": _Limit("ge", operator.ge, "at least {}"),
    "maximum": _Limit("le", operator.le, "at most {}"),
    "exclusiveMinimum": _Limit("gt", operator.gt, "greater than {}"),
    "exclusiveMaximum": _Limit("lt", operator.lt, "less than {}"),
    "multipleOf": _Limit("multiple_of", _is_multiple, "a multiple of {}"),
}
_OF_STRINGS = {
    "minLength": _Limit("min_length", lambda text, n: len(text) >= n, "at least {} characters"),
    "maxLength": _Limit("max_length", lambda text, n: len(text) <= n, "at most {} characters"),
    "pattern": _Limit("pattern", lambda text, p: re.search(p, text) is not None, "a match of {}"),
}
_SCHEMAS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {
        "String": {"format": str},
        "Array": {
            "items": (Mapping, bool),
            "maxItems": int,
            "minItems": int,
            "prefixItems": (list, tuple),
            "uniqueItems": bool,
        },
        "Object": {
            "additionalProperties": (Mapping, bool),
            "properties": Mapping,
            "required": (list, tuple),
        },
    }
)
"""The keywords that jsonschema checks, as it does for Airflow's Params, and the types of each."""
_BY_TYPE: Mapping[str, Mapping[str, _Limit]] = MappingProxyType(
    {"String": _OF_STRINGS, "Integer": _OF_NUMBERS, "Float": _OF_NUMBERS}
)
FIELD_ARGUMENTS = MappingProxyType(
    {keyword: limit.argument for keyword, limit in (_OF_NUMBERS | _OF_STRINGS).items()}
)
"""The argument of pydantic's ``Field`` for each keyword."""
_NO_LIMITS: Mapping[str, _Limit] = MappingProxyType({})
_KEYWORDS = {argument: keyword for keyword, argument in FIELD_ARGUMENTS.items()}


def limits_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that arguments of pydantic's ``Field`` mean, by keyword."""
    return {_KEYWORDS[name]: given for name, given in arguments.items() if name in _KEYWORDS}


def is_portable(pattern: str) -> bool:
    """Whether pydantic's regular expressions, which are those of Rust, support a pattern.

    They have no look-around and no references to groups. Unusual escapes are refused, too.
    """
    return re.search(r"\\(?![dDsSwWbBnrt\W])|\(\?(?!:)|[*+?}]\+|&&|--|~~|\[\[|\[:", pattern) is None


def known_limits(type_: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a JSON schema that a parameter of this type can have as limits."""
    known, schemas = _BY_TYPE.get(type_, _NO_LIMITS), _SCHEMAS.get(type_, {})
    return {
        key: value
        for key, value in found.items()
        if (key in known and _is_limit(key, value))
        or (key in schemas and isinstance(value, schemas[key]) and value != {})
    }


def check_limits(type_: str, limits: Mapping[str, Any]) -> None:
    """Raise TypeError for keywords that a parameter of this type cannot have."""
    if wrong := sorted(limits.keys() - known_limits(type_, limits).keys()):
        known = ", ".join((*_BY_TYPE.get(type_, ()), *_SCHEMAS.get(type_, ()))) or "none"
        found = ", ".join(f"{name}={shown(limits[name])}" for name in wrong)
        raise TypeError(f"limits of the type {type_}: expected {known}, got {found}")


def unmet(type_: str, limits: Mapping[str, Any], value: Any) -> Iterator[str]:
    """The expected values, for each limit that a value of the declared type violates."""
    own, schema = _BY_TYPE.get(type_, _NO_LIMITS), {}
    for key, wanted in limits.items():
        if key not in own:
            schema[key] = thaw(wanted)
        elif not own[key].met(value, wanted):
            yield own[key].text.format(shown(wanted))
    if schema:
        yield from _unmet_schema(schema, thaw(value))


def _unmet_schema(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    from jsonschema import Draft202012Validator, FormatChecker

    for error in Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(value):
        if error.validator == "format" and not error.path:
            yield f"a {error.validator_value}"
        else:
            yield f"JSON of its schema ({error.json_path}: {error.message})"


def _is_limit(keyword: str, wanted: Any) -> bool:
    if keyword == "pattern":
        try:
            return bool(re.compile(wanted))
        except (TypeError, re.error, RecursionError, OverflowError):
            return False
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return False
    if keyword in _OF_STRINGS:
        return isinstance(wanted, int) and wanted >= 0
    is_finite = isinstance(wanted, int) or math.isfinite(wanted)
    return is_finite and (keyword != "multipleOf" or wanted > 0)


# The pattern of job names in the SageMaker API; more characters follow, so it may end with hyphens.
_PREFIX = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*-*")


def name_prefix(name: object) -> str | None:
    """The prefix for a given name; None if no job can have it."""
    if not isinstance(name, str) or not _PREFIX.fullmatch(name):
        return None
    return name.rstrip("-")
