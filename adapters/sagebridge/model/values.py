"""JSON values of the model: read-only, hashable, and strictly equal.

In Python ``1 == 1.0 == True``; in a pipeline definition they are three values. Every class of the
model is compared with :func:`key_of`, so a changed type is a changed pipeline.
"""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar, Final, Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Value: TypeAlias = Any
"""Frozen JSON: None, bool, int, float, str, a tuple of values, an Object or an expression."""


class Absent(Enum):
    """The value of a key that a document does not have (``null`` is a value)."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> Literal[False]:
        return False


ABSENT: Final = Absent.ABSENT


class Object(Mapping[str, Value]):
    """A read-only JSON object. Keys keep their order; equality ignores it."""

    __slots__ = ("_hash", "_members", "_references")

    def __init__(self, members: Mapping[str, Value] | Iterable[tuple[str, Value]] = ()) -> None:
        self._members: dict[str, Value] = dict(members)
        self._hash: int | None = None
        self._references: tuple[Value, ...] | None = None  # kept by expressions.references

    def __getitem__(self, name: str) -> Value:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    # Mapping's own views look each member up again.
    def keys(self) -> KeysView[str]:
        return self._members.keys()

    def values(self) -> ValuesView[Value]:
        return self._members.values()

    def items(self) -> ItemsView[str, Value]:
        return self._members.items()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return key_of(self) == key_of(other)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(key_of(self))
        return self._hash

    def __reduce__(self) -> tuple[type[Object], tuple[dict[str, Value]]]:
        # Without the cached hash: hashes of strings differ between processes (PYTHONHASHSEED).
        return type(self), (self._members,)

    def __repr__(self) -> str:
        return f"Object({self._members!r})"

    def without(self, *names: str) -> Object:
        return Object({k: v for k, v in self._members.items() if k not in names})


EMPTY: Final = Object()


class Strict:
    """Strict equality and hash for the model's dataclasses, which are declared with ``eq=False``.

    ``_parts`` names the fields that contain values, for :mod:`~sagebridge.model.visit`.
    """

    __slots__ = ()
    _parts: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return key_of(self) == key_of(other)

    def __hash__(self) -> int:
        return hash(key_of(self))


def key_of(value: Value) -> Hashable:
    """A hashable key that is equal for two values only if they are the same JSON."""
    if value is None or isinstance(value, bool | str | Absent):
        return value if not isinstance(value, bool) else ("bool", value)
    if isinstance(value, int):
        return ("int", value)
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, list | tuple):
        return ("array", tuple(key_of(item) for item in value))
    if isinstance(value, Mapping):
        return ("object", frozenset((name, key_of(item)) for name, item in value.items()))
    if is_dataclass(value):
        return (
            type(value).__name__,
            tuple(key_of(getattr(value, field.name)) for field in fields(value) if field.compare),
        )
    raise TypeError(f"a {type(value).__name__} is not a pipeline value: {value!r}")


def exact(value: Any) -> Any:
    """A string or number of a subclass, such as a member of a StrEnum, as its base type.

    Otherwise ``repr`` writes it into a Python file as ``<Color.RED: 'red'>``.
    """
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def same(left: Value, right: Value) -> bool:
    """Whether two values are the same JSON. 1, 1.0 and True differ; the order of keys is free."""
    return key_of(left) == key_of(right)


def freeze(value: Any) -> Value:
    """Convert dicts and lists to read-only values. Expressions are returned unchanged."""
    if isinstance(value, Object):
        return value
    if isinstance(value, Mapping):
        return Object({str(name): freeze(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: Value) -> Any:
    """Convert a frozen value without expressions to dicts and lists."""
    if isinstance(value, Mapping):
        return {name: thaw(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return value
