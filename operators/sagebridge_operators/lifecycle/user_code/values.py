"""Python values as JSON, in records and between steps: dates, paths, tuples, dataclasses, frames.

What JSON cannot express is tagged: ``{"__sagebridge__": "date", "value": "2025-01-31"}``. Nothing
is imported or executed to read a value. Classes of users (enums, dataclasses, named tuples, models
of pydantic) are looked up by name in the module of the function that receives the value.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.display import shown
from sagebridge_operators.lifecycle.user_code import frames
from sagebridge_operators.run_errors import StepFailed

TAG = "__sagebridge__"
REFERENCES = "secret"
"""The tag of a string with references to secrets (:mod:`.kept_secrets`)."""
_RESERVED = frozenset((TAG, "__classname__", "__id__", "__type"))
"""Keys of objects that are tagged as pairs: the tag, and keys with which Airflow marks its own
classes in XComs (airflow/sdk/serde)."""
_NESTED, _COUNTER = "nested", "counter"
_OF_PAIRS: Mapping[str, Callable[[Any], Any]] = {
    _NESTED: dict,
    _COUNTER: lambda pairs: Counter(dict(pairs)),
}
Names = Mapping[str, Any]
"""The globals of a module, in which classes are looked up."""


class _Kind(NamedTuple):
    """A type of values, and how it becomes JSON and back."""

    type: type
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


def _zoned(value: datetime) -> list[Any]:
    """A time in ISO 8601, and the name of its zone if it has one."""
    zone = getattr(value.tzinfo, "key", None) or getattr(value.tzinfo, "name", None)
    return [value.isoformat(), *([zone, value.fold] if isinstance(zone, str) else [])]


def _datetime(parts: list[Any]) -> datetime:
    found = datetime.fromisoformat(parts[0])
    if len(parts) == 1:
        return found
    try:
        return found.astimezone(ZoneInfo(parts[1]))
    except (ZoneInfoNotFoundError, ValueError):
        return found


_KINDS: Mapping[str, _Kind] = {
    "datetime": _Kind(datetime, _zoned, _datetime),
    "date": _Kind(date, date.isoformat, date.fromisoformat),
    "time": _Kind(time, time.isoformat, time.fromisoformat),
    "timedelta": _Kind(
        timedelta,
        lambda one: [one.days, one.seconds, one.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "decimal": _Kind(Decimal, str, Decimal),
    "fraction": _Kind(Fraction, str, Fraction),
    "path": _Kind(PurePath, str, Path),
    "uuid": _Kind(UUID, str, UUID),
    "bytes": _Kind(bytes, lambda one: base64.b64encode(one).decode(), base64.b64decode),
    "bytearray": _Kind(
        bytearray,
        lambda one: base64.b64encode(one).decode(),
        lambda text: bytearray(base64.b64decode(text)),
    ),
    "complex": _Kind(complex, lambda one: [one.real, one.imag], lambda parts: complex(*parts)),
    "range": _Kind(range, lambda one: [one.start, one.stop, one.step], lambda ends: range(*ends)),
}
"""The types whose values contain no others. A datetime is a date, so it comes first."""
_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "bytes": lambda text: base64.b64decode(text).decode(errors="replace"),
    "bytearray": lambda text: base64.b64decode(text).decode(errors="replace"),
    "datetime": lambda parts: parts[0],
    "decimal": lambda text: int(text) if text.lstrip("-").isdigit() else float(text),
    "float": float,
    "timedelta": lambda parts: timedelta(*parts).total_seconds(),
}
"""How values look without their tag, if not as in the record."""
_COLLECTIONS: Mapping[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}


def encode(step: str, value: Any) -> Any:
    """The result of a step's code as JSON. Raises StepFailed if it has a value of another type."""
    try:
        encoded = _encode(value, RETURN_VALUE)
    except RecursionError:
        problem = f"{RETURN_VALUE} contains itself or is nested too deeply"
    except TypeError as unknown:
        problem = str(unknown)
    else:
        return encoded
    raise StepFailed(
        f"step {step!r} returned a value that cannot be kept: {problem}; return JSON, dates, "
        "paths, dataclasses, DataFrames, or lists or dicts of them, and the S3 URI of the rest",
        kind="code",
    )


def decode(value: Any, names: Names) -> Any:
    """The value of tagged JSON; ``names`` are the globals of the function that receives it.

    Raises StepFailed for a class that the function's module does not have.
    """
    match value:
        case list():
            return [decode(item, names) for item in value]
        case dict() if TAG in value:
            return _decode_tagged(value, names)
        case dict():
            return {name: decode(item, names) for name, item in value.items()}
    return value


def escaped(value: Any) -> Any:
    """Plain JSON, such as the description of a job, as tagged JSON.

    An object in it that looks like a tag stays an object, since jobs are not trusted.
    """
    match value:
        case list():
            return [escaped(item) for item in value]
        case Mapping():
            items = {name: escaped(item) for name, item in value.items()}
            return (
                items
                if _RESERVED.isdisjoint(items)
                else _tagged(_NESTED, [list(one) for one in items.items()])
            )
    return value


def untagged(value: Any) -> Any:
    """Tagged JSON as plain JSON, for jobs and conditions: dates in ISO 8601, tuples as lists."""
    match value:
        case list():
            return [untagged(item) for item in value]
        case dict() if TAG in value:
            kind, found = value[TAG], _content(value)
            _check_plain(kind)
            if kind in _PLAIN:
                return _PLAIN[kind](found)
            if kind in _OF_PAIRS:
                return {name: untagged(item) for name, item in inside(value).items()}
            return untagged(inside(value))
        case dict():
            return {name: untagged(item) for name, item in value.items()}
    return value


def _check_plain(kind: str) -> None:
    if kind == REFERENCES:
        raise StepFailed(
            "a secret that a step returned can only be an argument of a Python function; read it "
            "in the step that uses it",
            kind="unresolvable",
        )


def has_references(value: Any) -> bool:
    """Whether a value is a string with references to secrets."""
    return isinstance(value, dict) and value.get(TAG) == REFERENCES


def joined(parts: Sequence[Any], between: str) -> Any:
    """Strings as one; with references if one of them has some."""
    if all(isinstance(one, str) for one in parts):
        return between.join(parts)
    pieces = (_content(one) if has_references(one) else [one] for one in parts)
    first, *others = pieces
    return _tagged(REFERENCES, [*first, *(one for piece in others for one in (between, *piece))])


def is_leaf(value: Mapping[str, Any]) -> bool:
    """Whether a tagged value is a date, path, number or bytes, which contains no other values."""
    return value[TAG] in _KINDS


def _content(value: Mapping[str, Any]) -> Any:
    return value.get("value")


class TupleFields(dict[str, Any]):
    """The fields of a named tuple. A path can name them or give their positions."""


def inside(value: Any) -> Any:
    """What a path can descend into: the fields of a tagged object, the items of a tagged list."""
    if not isinstance(value, dict) or TAG not in value:
        return value
    kind, found = value[TAG], _content(value)
    _check_plain(kind)
    if kind in _OF_PAIRS:
        return {key if isinstance(key, str) else str(untagged(key)): one for key, one in found}
    if kind in ("frame", "series"):
        return frames.rows(value)
    if kind == "namedtuple":
        return TupleFields(found)
    return list(range(*found)) if kind == "range" else found


def _encode(value: Any, place: str) -> Any:
    match value:
        case Enum():
            return _of_class("enum", value, _encode(value.value, place))
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else _tagged("float", str(float(value)))
        case list():
            return list(_items(value, place))
        case Counter():
            return _tagged(_COUNTER, _pairs(value, place))
        case dict():
            return _encode_dict(value, place)
        case tuple() if hasattr(value, "_fields"):
            fields = {name: getattr(value, name) for name in value._fields}
            return _of_class("namedtuple", value, _encode_dict(fields, place))
    for name, kind in _COLLECTIONS.items():
        if type(value) is kind:
            return _tagged(name, list(_items(_ordered(value), place)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return _of_class("dataclass", value, _encode_dict(named, place))
    if _is_model(value):
        set_fields = {name: getattr(value, name) for name in type(value).model_fields}
        return _of_class("model", value, _encode_dict(set_fields, place))
    if frames.is_scalar(value):
        return _encode(frames.scalar(value), place)
    if (found := frames.to_json(value, lambda item: _encode(item, place))) is not None:
        return {TAG: found.pop("kind"), **found}
    for name, known in _KINDS.items():
        if isinstance(value, known.type):
            return _tagged(name, known.to_json(value))
    if isinstance(value, Mapping):
        return _encode_dict(value, place)
    raise TypeError(f"{place} is a {type(value).__name__}")


def _encode_dict(value: Mapping[Any, Any], place: str) -> Any:
    """An object of JSON, or tagged pairs if a key is not a string or is reserved."""
    if all(type(name) is str for name in value) and _RESERVED.isdisjoint(value):
        return {name: _encode(item, f"{place}[{shown(name)}]") for name, item in value.items()}
    return _tagged(_NESTED, _pairs(value, place))


def _pairs(value: Mapping[Any, Any], place: str) -> list[Any]:
    return [
        [_encode(name, place), _encode(item, f"{place}[{shown(name)}]")]
        for name, item in value.items()
    ]


def _items(values: Any, place: str) -> Iterator[Any]:
    return (_encode(item, f"{place}[{position}]") for position, item in enumerate(values))


def _ordered(value: Any) -> Any:
    """The items of a set in an order that does not change from process to process."""
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else value


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {TAG: kind, "value": value}


def _of_class(kind: str, value: Any, content: Any) -> dict[str, Any]:
    own = type(value)
    return {TAG: kind, "class": own.__qualname__, "module": own.__module__, "value": content}


def _is_model(value: Any) -> bool:
    """Whether a value is a model of pydantic, which need not be installed."""
    return any(one.__name__ == "BaseModel" for one in type(value).__mro__) and hasattr(
        type(value), "model_fields"
    )


def _decode_tagged(value: Mapping[str, Any], names: Names) -> Any:
    kind, found = value[TAG], _content(value)
    if kind == "float":
        return float(found)
    if kind in _OF_PAIRS:
        return _OF_PAIRS[kind]((decode(key, names), decode(item, names)) for key, item in found)
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](decode(found, names))
    if kind in _KINDS:
        return _KINDS[kind].from_json(found)
    if kind in ("frame", "series", "array"):
        return frames.from_json(value, lambda item: decode(item, names))
    own = _class_of(value, names)
    content = decode(found, names)
    match kind:
        case "enum":
            return own(content)
        case "dataclass":
            return _restored_dataclass(own, content)
        case "model":
            return own.model_construct(**content)
    return own(**content)


def _restored_dataclass(own: Any, content: Mapping[str, Any]) -> Any:
    """An instance with the fields of the one that was kept; ``__init__`` does not run again."""
    made = object.__new__(own)
    for name, item in content.items():
        object.__setattr__(made, name, item)
    return made


def _class_of(value: Mapping[str, Any], names: Names) -> Any:
    """The class of a value, in the module of the function. Raises StepFailed."""
    name, module = value["class"], value.get("module", "")
    kinds: dict[str, Callable[[Any], bool]] = {
        "enum": lambda one: issubclass(one, Enum),
        "dataclass": lambda one: hasattr(one, "__dataclass_fields__"),
        "namedtuple": lambda one: issubclass(one, tuple) and hasattr(one, "_fields"),
        "model": lambda one: hasattr(one, "model_construct"),
    }
    fits = kinds.get(value[TAG], lambda one: False)
    for found in _candidates(name, module, names):
        if isinstance(found, type) and fits(found):
            return found
    raise StepFailed(
        f"a result is a {name} of {module}, a class that the module of the function "
        f"{names.get('__name__', '')} does not have; import it there",
        kind="code",
    )


def _candidates(name: str, module: str, names: Names) -> Iterator[Any]:
    """What the name of a class means in a module, or in the modules that it imports."""
    first, *more = name.split(".")
    yield _below(names.get(first), more)
    imported = [one for one in names.values() if isinstance(one, ModuleType)]
    for one in imported:
        if one.__name__ == module:
            yield _below(getattr(one, first, None), more)
        elif module.startswith(f"{one.__name__}."):
            yield _below(one, [*module[len(one.__name__) + 1 :].split("."), first, *more])
    for one in names.values():  # imported under another name
        if isinstance(one, type) and (one.__qualname__, one.__module__) == (name, module):
            yield one


def _below(found: Any, path: list[str]) -> Any:
    for name in path:
        found = getattr(found, name, None)
    return found


def printable(value: Any) -> Any:
    """``str()`` of a tagged date, path or number; any other value without its tags."""
    if isinstance(value, dict) and value.get(TAG) in _KINDS:
        return str(_KINDS[value[TAG]].from_json(value["value"]))
    return untagged(value)
