"""The order of keys in a definition, for objects in which it is not the order of the SDK.

The model has no order for the keys that it knows. A table keeps it, so that a definition that goes
through a Python file comes back without noise in ``git diff``:

- ``{"Steps": ["Name", "Type", "FunctionArn", "Arguments"]}`` is for each object in a list (or under
  a key) named ``Steps``;
- ``{"/Steps/0": […]}`` is for one object, by JSON pointer, if objects under that name disagree. The
  pointer of the definition itself is empty.

Order has no meaning: after an edit of the file, an entry that no longer fits changes nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from sagebridge.model.visit import escape

Table = Mapping[str, Sequence[str]]


def key_order(wanted: Any, written: Any) -> dict[str, list[str]]:
    """The table that makes ``written`` the same as ``wanted``; both are the same JSON value."""
    orders: dict[str, list[list[str]]] = defaultdict(list)
    changed: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for pointer, kind, left, right in _objects(wanted, written):
        orders[kind].append(left)
        if left != right:
            changed[kind][pointer] = left
    table: dict[str, list[str]] = {}
    for kind, pointers in changed.items():
        merged = _merged(orders[kind])
        if merged is None:
            table |= pointers
        else:
            used = {key for keys in pointers.values() for key in keys}
            table[kind] = [key for key in merged if key in used]
    return table


def arrange(value: Any, table: Table, pointer: str = "", kind: str = "") -> Any:
    """A copy of a JSON value with the keys of its objects in the order of the table."""
    if not table:
        return value
    if isinstance(value, list):
        return [
            arrange(item, table, f"{pointer}/{index}", kind) for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    order = table.get(pointer, table.get(kind, ()))
    return {
        key: arrange(value[key], table, f"{pointer}/{escape(key)}", escape(key))
        for key in _sorted(value, order)
    }


def _sorted(keys: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """The keys, those in ``order`` in that order; the others keep their positions."""
    rank = {key: position for position, key in enumerate(order)}
    listed = iter(sorted((key for key in keys if key in rank), key=lambda key: rank[key]))
    return [next(listed) if key in rank else key for key in keys]


def _objects(left: Any, right: Any) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Pointer, kind and the two orders of keys of each object with more than one key."""
    stack = [("", "", left, right)]
    while stack:
        pointer, kind, one, other = stack.pop()
        if isinstance(one, list):
            pairs = zip(one, other, strict=True)
            stack += [(f"{pointer}/{i}", kind, *pair) for i, pair in enumerate(pairs)]
        elif isinstance(one, dict):
            if len(one) > 1:
                yield pointer, kind, list(one), list(other)
            stack += [
                (f"{pointer}/{escape(key)}", escape(key), one[key], other[key]) for key in one
            ]


def _merged(orders: Sequence[Sequence[str]]) -> list[str] | None:
    """One order that agrees with all; None if there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for keys in orders:
        for before, after in pairwise(keys):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except CycleError:
        return None
