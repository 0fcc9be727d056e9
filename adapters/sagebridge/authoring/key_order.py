"""The order of keys in a definition, for objects that do not have the order of the SDK.

The fields of the model have no order. A table keeps the order of the source, so that a definition
comes back from a Python file without noise in ``git diff``. An entry is one of:

- ``"Steps": ["Name", "Type", "FunctionArn", "Arguments"]``: the order in all objects under the key
  ``Steps``. The key of the definition itself is empty.
- ``"/Steps/0": […]``: the order in the object at a JSON pointer, if objects under one key have
  conflicting orders.

Entries that no longer fit after an edit of the file are ignored.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from sagebridge.model.visit import escape

Table = Mapping[str, Sequence[str]]


def key_order(wanted: Any, written: Any) -> dict[str, list[str]]:
    """The table with which :func:`arrange` gives ``written`` the order of ``wanted``.

    Both are the same JSON value.
    """
    if json.dumps(wanted) == json.dumps(written):  # much faster than the walk below
        return {}
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
    """A JSON value with the keys of its objects in the order of the table."""
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
    """Each object with more than one key: pointer, kind, and the keys in both orders."""
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
    """An order that agrees with all of them; None if they conflict."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for keys in orders:
        for before, after in pairwise(keys):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except CycleError:
        return None
