"""One visitor and one rebuilder for value trees.

A value tree is frozen or plain JSON with expressions in it, or a condition over such values. A
dataclass of the model lists the fields that hold values in ``_parts``; every other object is a
leaf. Paths, references and names of types are not values, so they are not visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sagebridge.model.values import Object, Strict, Value

Prune: TypeAlias = Callable[[Value], bool] | None
_PLAIN = (str, int, float, type(None))


def nodes(value: Value, prune: Prune = None) -> Iterator[Value]:
    """A value and all values inside it, each before its parts, in their written order.

    The parts of a node for which ``prune`` holds are left out, as in sqlglot's ``walk``.
    """
    stack = [value]
    while stack:
        node = stack.pop()
        yield node
        # Most nodes are plain: asking for their parts would double the time.
        if not isinstance(node, _PLAIN) and (prune is None or not prune(node)):
            stack += reversed(_parts(node))


def located(value: Value, pointer: str, prune: Prune = None) -> Iterator[tuple[str, Value]]:
    """As :func:`nodes`, each with its JSON pointer; ``pointer`` is the one of the value itself.

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
    """A frozen copy of a value; ``change`` gets each node and returns it or its replacement.

    A node comes before its parts, and a replacement is not visited, as in sqlglot's ``transform``.
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
    """A member name as a token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
