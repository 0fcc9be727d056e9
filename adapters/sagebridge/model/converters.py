"""Converters for the fields of model classes: plain Python values to frozen ones, or TypeError.

The annotation of a field decides its converter, so the models have no list of converters.
"""

from __future__ import annotations

import math
import re
import sys
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, TypeAlias

from sagebridge.errors import ModelTypeError
from sagebridge.model.display import shown
from sagebridge.model.expressions import json_value
from sagebridge.model.values import ABSENT, Object, exact

Converter: TypeAlias = Callable[[Any], Any]


def convert(
    record: Any, owner: str, special: Mapping[str, Converter] = MappingProxyType({})
) -> None:
    """Replace the fields of a new frozen dataclass. Raises ModelTypeError for all wrong fields.

    ``special`` has converters of fields whose annotation says too little.
    """
    problems = []
    for name, converter in _converters(record.__class__).items():
        given = getattr(record, name)
        try:
            converted = special.get(name, converter)(given)
        except TypeError as error:
            problems.append(f"{owner}: {name}: {error}")
        else:
            if converted is not given:
                object.__setattr__(record, name, converted)
    if problems:
        raise ModelTypeError(problems)


@cache
def _converters(class_: Any) -> Mapping[str, Converter]:
    names = ChainMap(*(vars(sys.modules[one.__module__]) for one in class_.__mro__))
    return {one.name: _converter(str(one.type), names) for one in fields(class_)}


def _converter(annotation: str, names: Mapping[str, Any]) -> Converter:
    if annotation.endswith(" | Absent"):
        return optional(_converter(annotation.removesuffix(" | Absent"), names))
    if match := re.fullmatch(r"tuple\[(.+), \.\.\.\]", annotation):
        return each(_converter(match[1], names))
    if (found := _OF_ANNOTATIONS.get(annotation)) is not None:
        return found
    if not isinstance(kind := names.get(annotation), type):
        return lambda given: given
    return of(kind, f"{'an' if annotation[0] in 'AEIOU' else 'a'} {annotation}")


def of(type_: type, expected: str) -> Converter:
    """Accept instances of a class."""

    def check(given: Any) -> Any:
        if isinstance(given, type_):
            return given
        raise TypeError(f"expected {expected}, got {shown(given)}")

    return check


def optional(converter: Converter) -> Converter:
    """Accept ABSENT too."""
    return lambda given: given if given is ABSENT else converter(given)


def each(converter: Converter) -> Converter:
    """Convert each item of a list or other iterable to a tuple."""

    def convert_each(given: Any) -> tuple[Any, ...]:
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            raise TypeError(f"expected a list, got {shown(given)}")
        return tuple(map(converter, given))

    return convert_each


def object_(given: Any) -> Object:
    """Freeze a dict of values."""
    if not isinstance(given, Mapping):
        raise TypeError(f"expected a dict, got {shown(given)}")
    frozen: Object = json_value(given)
    return frozen


def string_(given: Any) -> str:
    """Accept strings."""
    if type(given) is str:
        return given
    if isinstance(given, str):
        return str(exact(given))
    raise TypeError(f"expected a string, got {shown(given)}")


def boolean(given: Any) -> bool:
    """Accept booleans."""
    if isinstance(given, bool):
        return given
    raise TypeError(f"expected True or False, got {shown(given)}")


def integer(given: Any) -> int:
    """Accept integers other than booleans."""
    if type(given) is int:
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return int(exact(given))
    raise TypeError(f"expected an integer, got {shown(given)}")


def number(given: Any) -> float:
    """Accept finite integers and floats other than booleans; a whole one becomes an int."""
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given):
        return int(given) if given == int(given) else float(given)
    raise TypeError(f"expected a number, got {shown(given)}")


def one_of(known: Collection[str]) -> Converter:
    """Accept one of the ``known`` strings."""

    def check(given: Any) -> str:
        if isinstance(given, str) and given in known:
            return str(exact(given))
        raise TypeError(f"expected one of {', '.join(filter(None, known))}, got {shown(given)}")

    return check


_OF_ANNOTATIONS: Mapping[str, Converter] = MappingProxyType(
    {
        "Object": object_,
        "Value": json_value,
        "bool": boolean,
        "float": number,
        "int": integer,
        "str": string_,
    }
)
