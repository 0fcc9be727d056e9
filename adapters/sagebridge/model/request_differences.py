"""A difference between what two systems do with a field of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def is_set(value: object) -> bool:
    """Whether a field has a value other than False."""
    return value not in (None, False, "", [], {})


def one_of(*values: object) -> Callable[[object], bool]:
    """Whether a field has one of these values."""
    return lambda value: value in values


def more_than(most: float) -> Callable[[object], bool]:
    """Whether a field is a larger number."""
    return lambda value: isinstance(value, int | float) and value > most


def lacks(pattern: str) -> Callable[[object], bool]:
    """Whether a field is a string that a regular expression does not match."""
    return lambda value: isinstance(value, str) and re.search(pattern, value) is None


def has(pattern: str) -> Callable[[object], bool]:
    """Whether a field is a string that a regular expression matches."""
    return lambda value: isinstance(value, str) and re.search(pattern, value) is not None


def _quoted(value: object) -> str:
    return f" {value!r}" if isinstance(value, str) else ""


def without(key: str) -> Callable[[object], bool]:
    """Whether a field is an object without this key."""
    return lambda value: isinstance(value, Mapping) and key not in value


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between a step on this machine and on AWS.

    Attributes:
        types: the step types, or ``SERVED`` of ``local_differences``.
        field: the path of the field of the request, or of the key next to ``Arguments``, that has
            the difference, such as ``Outputs[].S3Output.S3UploadMode``.
        applies: whether a value of the field has it; default: any value except False.
        unless: paths of fields that remove the difference.
        shown: the condition in the docs; default: the field.
        here: what happens on this machine; for a refused step, what is not supported.
        found: shows the value in messages of a refused step; default: a string, quoted.
        refused: whether the step cannot run here. It is found before the first job, unless the
            value is known only at run time; then the job fails.
    """

    types: tuple[str, ...]
    field: str
    applies: Callable[[object], bool] = is_set
    unless: tuple[str, ...] = ()
    shown: str = ""
    here: str
    found: Callable[[object], str] = _quoted
    refused: bool = False

    def places(self, request: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """The fields of a request with this difference: path and value."""
        if not any(True for path in self.unless for _ in values_at(request, path)):
            for place, value in values_at(request, self.field):
                if is_plain(value) and self.applies(value):
                    yield place, value


def values_at(value: object, path: str, place: str = "") -> Iterator[tuple[str, object]]:
    """The values at a path, with ``[]`` for all items of a list; expressions are values, too."""
    if not path or not is_plain(value):
        yield place, value
        return
    key, _, rest = path.partition(".")
    name, bracket, index = key.partition("[")
    if not isinstance(value, Mapping) or name not in value:
        return
    below, inner = value[name], f"{place}.{name}".lstrip(".")
    if not bracket or not is_plain(below):
        yield from values_at(below, rest, inner)
    elif isinstance(below, Sequence) and not isinstance(below, str):
        for number, item in enumerate(below):
            if index in ("]", f"{number}]"):
                yield from values_at(item, rest, f"{inner}[{number}]")


def is_plain(value: object) -> bool:
    """Whether a value is JSON, not an expression whose value is known only at run time."""
    return value is None or isinstance(value, str | int | float | Mapping | Sequence)
