"""Mapped operators and task groups as ForEach steps, where a ForEach does exactly the same.

A literal list becomes the items. If several values change from item to item, each item is a string
with a JSON object, and ``ForEach.CurrentItem.NAME`` is one of them. The output of one task stays a
reference. Everything else has no counterpart in a pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import product
from typing import Any

from sagebridge.formats.airflow.task_values import RunTimeValue, Values
from sagebridge.model.expressions import Get, Member, current_item, is_expression, plain
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.values import Object, Value, same

_MOST_ITEMS, _MOST_ITERATIONS = 100, 50
ITEM = plain(current_item)


class NoForEach(Exception):
    """Why a mapping cannot be a ForEach."""


@dataclass(frozen=True, slots=True)
class ItemMapping:
    """The items of a ForEach, and by argument the value that contains its part of the item."""

    items: Value
    arguments: Mapping[str, Value]

    def step(self, name: str, limit: int, body: Sequence[Any]) -> ForEachStep:
        """The ForEach; ``limit`` is how many of its tasks Airflow runs at the same time."""
        most = min(limit, _MOST_ITERATIONS)
        return ForEachStep(name, items=self.items, max_concurrency=most, body=tuple(body))


def mapping_of(expand_input: Any, values: Values) -> ItemMapping:
    """The items of ``expand()`` or ``expand_kwargs()``. Raises :class:`NoForEach`."""
    given = expand_input.value
    try:
        if isinstance(given, Mapping) and len(given) == 1:
            (name, source), *_ = given.items()
            if hasattr(source, "iter_references"):
                return ItemMapping(values.of(source), {name: ITEM})
        return _literal(list(_points(given, values)))
    except RunTimeValue as unknown:
        raise NoForEach(f"it is mapped over {unknown.what}") from None


def _points(given: Any, values: Values) -> Iterator[Mapping[str, Value]]:
    """The arguments of each iteration, by map index."""
    if isinstance(given, Mapping):
        lists = list(given.values())
        if not all(isinstance(one, list | tuple) for one in lists):
            raise NoForEach("it is mapped over more than literal lists or the output of one task")
        for one in product(*lists):
            yield {name: values.of(item) for name, item in zip(given, one, strict=True)}
    elif isinstance(given, list | tuple) and all(isinstance(one, Mapping) for one in given):
        for one in given:
            yield {name: values.of(item) for name, item in one.items()}
    else:
        raise NoForEach("it is mapped over arguments that are only known at run time")


def _literal(points: Sequence[Mapping[str, Value]]) -> ItemMapping:
    if not 1 <= len(points) <= _MOST_ITEMS:
        raise NoForEach(f"it has {len(points)} items, and a ForEach has 1 to {_MOST_ITEMS}")
    merger = _Merger(len(points))
    merged = merger.merge([Object(one) for one in points], "item")
    if not isinstance(merged, Object):
        raise NoForEach("its items have different arguments")
    fields = merger.fields
    if not fields:
        return ItemMapping(tuple(range(len(points))), merged)
    if len(fields) == 1:
        ((_, items),) = fields.items()
        return ItemMapping(tuple(items), merger.with_items(merged, lambda _: ITEM))
    rows = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    if any(is_expression(value) for row in rows for value in row.values()):
        raise NoForEach("its items contain several values, and some are references")
    texts = tuple(json.dumps(row) for row in rows)
    return ItemMapping(texts, merger.with_items(merged, _field))


def _field(name: str) -> Get:
    return Get(ITEM.root, (*ITEM.tokens, Member(name)))


class _Merger:
    """Merges values that differ only in scalars; ``fields`` are those, by a name made for each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.fields: dict[str, list[Value]] = {}

    def merge(self, found: Sequence[Value], name: str) -> Value:
        first = found[0]
        if all(same(first, one) for one in found):
            return first
        if all(isinstance(one, Object) and one.keys() == first.keys() for one in found):
            return Object({key: self.merge([one[key] for one in found], key) for key in first})
        if all(isinstance(one, tuple) and len(one) == len(first) for one in found):
            columns = zip(*found, strict=True)
            return tuple(self.merge(column, name) for column in columns)
        if any(one is None or isinstance(one, Object | tuple) for one in found):
            raise NoForEach("its items differ in more than strings, numbers and booleans")
        own = "".join(char for char in name if char.isascii() and char.isalnum()) or "item"
        free = next(one for one in _numbered(own) if one not in self.fields)
        self.fields[free] = list(found)
        return _Field(free)

    def with_items(self, merged: Object, value: Callable[[str], Value]) -> Object:
        """The merged value with references to the item in place of what changes."""

        def change(node: Value) -> Value:
            if isinstance(node, _Field):
                return value(node.name)
            if isinstance(node, Object):
                return Object({key: change(item) for key, item in node.items()})
            return tuple(map(change, node)) if isinstance(node, tuple) else node

        result: Object = change(merged)
        return result


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}{number}"
        number += 1


def mapped_group(task: Any) -> Any:
    """The mapped task group around a task that is not a ForEach; None outside of one."""
    groups = [one for one in task.iter_mapped_task_groups() if not hasattr(one, "for_each")]
    return groups[0] if groups else None


def is_nested(task: Any) -> bool:
    """Whether a task is mapped more than once."""
    return len([*task.iter_mapped_task_groups()]) + hasattr(task, "partial_kwargs") > 1


def unmapped(task: Any, arguments: Mapping[str, Value]) -> Any:
    """The operator of one iteration of a mapped operator, with these values for its arguments."""
    decorated = hasattr(task, "op_kwargs_expand_input")
    operator = task.unmap({"op_kwargs": arguments} if decorated else arguments)
    # partial() adds the defaults of BaseOperator to the arguments that are given.
    given = operator._BaseOperator__init_kwargs
    base = next(one for one in type(operator).__mro__ if one.__name__ == "BaseOperator")
    for name, parameter in signature(base).parameters.items():
        if name in given and str(given[name]) == str(parameter.default):
            del given[name]
    return operator


def limit_of(tasks: Sequence[Any], dag: Any) -> int:
    """How many task instances of the same task Airflow runs at the same time in one DAG run."""
    limits = [getattr(task, "max_active_tis_per_dagrun", None) for task in tasks]
    return min((one for one in limits if one), default=int(dag.max_active_tasks))
