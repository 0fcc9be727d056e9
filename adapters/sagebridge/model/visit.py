"""Visitor and rebuilder for value trees.

A value tree is JSON that contains expressions, or a condition on such values. A dataclass of the
model lists its fields that contain values in ``_parts``; every other object is a leaf. Paths,
references and names of types are not values and are not visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sagebridge.model.values import Object, Strict, Value

Prune: TypeAlias = Callable[[Value], bool] | None
_PLAIN = (str, int, float, type(None))


def nodes(value: Value, prune: Prune = None) -> Iterator[Value]:
    """A value and all values inside it in document order, each before its parts.

    The parts of a node are skipped if ``prune(node)`` is true, as in sqlglot's ``walk``.
    """
    stack = [value]
    while stack:
        node = stack.pop()
        yield node
        # Most nodes are scalars; calling _parts for them would double the time.
        if not isinstance(node, _PLAIN) and (prune is None or not prune(node)):
            stack += reversed(_parts(node))


def located(value: Value, pointer: str, prune: Prune = None) -> Iterator[tuple[str, Value]]:
    """The same as :func:`nodes`, with JSON pointers; ``pointer`` is that of the value itself.

    Values inside an expression have the pointer of the expression.
    """
    stack = [(pointer, value)]
    while stack:
        here, node = stack.pop()
        if isinstance(node, Strict):
            yield from ((here, part) for part in nodes(node, prune))
            continue
        yield here, node
        if prune is None or not prune(node):
            parts = _parts(node)
            keys = node if isinstance(node, Mapping) else range(len(parts))
            pointers = [f"{here}/{escape(str(key))}" for key in keys]
            stack += reversed(list(zip(pointers, parts, strict=True)))


def rebuild(value: Value, change: Callable[[Value], Value]) -> Value:
    """A frozen copy of a value; ``change`` returns each node or its replacement.

    Nodes are visited before their parts. Replacements are not visited, as in sqlglot's
    ``transform``.
    """
    changed = change(value)
    if changed is not value or isinstance(value, _PLAIN):
        return changed
    if isinstance(value, Strict):
        parts = {name: rebuild(getattr(value, name), change) for name in value._parts}
        record: Any = value
        return replace(record, **parts) if parts else value
    if isinstance(value, list | tuple):
        return tuple(rebuild(item, change) for item in value)
    if isinstance(value, Mapping):
        return Object({name: rebuild(item, change) for name, item in value.items()})
    return value


def _parts(node: Value) -> Sequence[Value]:
    if type(node) is Object:  # the most common kind, and a check for Mapping is slow
        return list(node.values())
    if isinstance(node, Strict):
        return [getattr(node, name) for name in node._parts]
    if isinstance(node, list | tuple):
        return node
    if isinstance(node, Mapping):
        return list(node.values())
    return ()


def escape(name: str) -> str:
    """A key as a token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """The member name of a token of a JSON pointer."""
    return token.replace("~1", "/").replace("~0", "~")
