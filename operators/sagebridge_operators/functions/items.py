"""Lists of items for a ForEach, made from several lists."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

_NO_FILL = "\0no fill"


def product(**lists: Any) -> list[dict[str, Any]]:
    """Each combination of the items of the lists, as the keyword arguments of a call.

    The items of the last list change fastest, as with ``expand()`` in Airflow. Those of a dict are
    its pairs.
    """
    columns = [
        list(one.items()) if isinstance(one, Mapping) else list(one) for one in lists.values()
    ]
    return [dict(zip(lists, row, strict=True)) for row in itertools.product(*columns)]


def rows(**given: Any) -> list[dict[str, Any]]:
    """The first items of all lists, the second ones, and so on, as with ``.map()`` in Prefect.

    A value that is not a list, such as a number or a text, is in each row. Raises ValueError if the
    lists do not have the same length, or if there are only such values.
    """
    # isiterable() of prefect/utilities/collections.py.
    lists = {
        name: list(one)
        for name, one in given.items()
        if isinstance(one, Iterable) and not isinstance(one, str | bytes)
    }
    lengths = {name: len(one) for name, one in lists.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected lists of the same length, got {lengths}")
    (count,) = set(lengths.values())
    return [
        {name: lists[name][at] if name in lists else one for name, one in given.items()}
        for at in range(count)
    ]


def zipped(*lists: Iterable[Any], fill: Any = _NO_FILL) -> list[tuple[Any, ...]]:
    """The first items of all lists, the second ones, and so on.

    It ends with the shortest list; with ``fill``, with the longest one.
    """
    if fill == _NO_FILL:
        return list(zip(*lists, strict=False))
    return list(itertools.zip_longest(*lists, fillvalue=fill))


def joined(*lists: Iterable[Any]) -> list[Any]:
    """The items of all lists, one list after the other."""
    return list(itertools.chain(*lists))


def call_arguments(operators: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The keyword arguments of each call, from arguments of a PythonOperator: ``op_kwargs``.

    Raises ValueError if there are other ones.
    """
    given = list(operators)
    if unknown := sorted({name for one in given for name in one} - {"op_kwargs"}):
        raise ValueError(f"expected only op_kwargs, got {unknown}")
    return [one.get("op_kwargs", {}) for one in given]
