"""Mapped operators and task groups as ForEach steps, where a ForEach does exactly the same.

A literal list becomes the items. If several values change from item to item, each item is a string
with a JSON object, and ``ForEach.CurrentItem.NAME`` is one of them. The output of one task stays a
reference. For code, items may be dicts, and several lists that are only known at run time are
combined by a step before the ForEach.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from itertools import product
from typing import Any

from sagebridge.formats.airflow.code_tasks import UNPACKED, context_names
from sagebridge.formats.airflow.task_values import RunTimeValue, Values, as_template
from sagebridge.formats.python.function_source import NotSelfContained, of_function
from sagebridge.formats.python.source_code import identifier
from sagebridge.model.code_steps import PYTHON, RETURN_VALUE, PythonStep, call_arguments
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import Get, Index, Member, current_item, is_expression, plain
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Step
from sagebridge.model.values import EMPTY, Object, Value, same

_MOST_ITEMS, _MOST_ITERATIONS = 100, 50
ITEM = plain(current_item)
_ITEMS = "sagebridge_operators.functions.items"
_SOURCES = {"ZipXComArg": "zipped", "ConcatXComArg": "joined", "MapXComArg": "mapped"}
"""The ends of the names of steps that make a list for another step."""
_DECORATED = "op_kwargs_expand_input"
"""An attribute that only a mapped @task function has."""
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class NoForEach(Exception):
    """Why a mapping cannot be a ForEach."""


@dataclass(frozen=True, slots=True)
class ItemMapping:
    """The items of a ForEach, and by argument the value that contains its part of the item.

    ``before`` are the steps that make the items. An argument ``UNPACKED`` is a dict of arguments.
    """

    items: Value
    arguments: Mapping[str, Value]
    before: tuple[PythonStep, ...] = ()

    def steps(self, name: str, limit: int, body: Sequence[Any]) -> list[Step]:
        """The steps that make the items, and the ForEach.

        ``limit`` is how many of its tasks Airflow runs at the same time.
        """
        most = min(limit, _MOST_ITERATIONS)
        may_be_empty = not isinstance(self.items, tuple) or not self.items
        loop = ForEachStep(
            name,
            items=self.items,
            max_concurrency=most,
            body=tuple(body),
            engine=EngineSettings(skip_if_empty=may_be_empty),  # Airflow skips it without items
        )
        return [*self.before, loop]


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


def request_mapping(expand_input: Any, values: Values) -> ItemMapping:
    """The same as :func:`mapping_of` for sagebridge operators that are mapped over requests.

    Raises :class:`NoForEach` also if the requests are only known at run time.
    """
    found = mapping_of(expand_input, values)
    if found.arguments.keys() != {"arguments"}:
        raise NoForEach("it is mapped over more than its requests")
    if not isinstance(found.arguments["arguments"], Object):
        raise NoForEach("its requests are only known at run time")
    return found


def code_mapping(expand_input: Any, values: Values, name: str, operator: Any = None) -> ItemMapping:
    """The same as :func:`mapping_of` for code, whose items may be any JSON.

    ``name`` is the name of a step that makes the items, if one is needed. ``expand_kwargs()``
    of an ``operator`` without decorator has the arguments of the operator, not of its function.
    Raises :class:`NoForEach`.
    """
    given = expand_input.value
    try:
        if not isinstance(given, Mapping):
            decorated = operator is None or hasattr(operator, _DECORATED)
            return _unpacked(given, values, name, decorated=decorated)
        names = {key: f"{name[:40]}-{key[:20]}" if len(given) > 1 else name for key in given}
        lists = {key: _items(one, values, names[key]) for key, one in given.items()}
        if len(lists) == 1:
            ((key, found),) = lists.items()
            return ItemMapping(found.items, _argument(key, found.items, ITEM), found.before)
        arguments = {key: _field(key) for key in lists}
        for one in ("op_args", "op_kwargs"):
            if one in lists:
                found_argument = _argument(one, lists[one].items, _field(one))
                arguments = {**{k: v for k, v in arguments.items() if k != one}, **found_argument}
        sources = {key: one.items for key, one in lists.items()}
        if all(isinstance(one, tuple) for one in sources.values()):
            points = product(*sources.values())
            rows = tuple(Object(zip(sources, point, strict=True)) for point in points)
            return ItemMapping(rows, arguments)
        before = tuple(step for one in lists.values() for step in one.before)
        return _computed(_items_step(name, "product", (), sources), arguments, before)
    except RunTimeValue as unknown:
        raise NoForEach(f"it is mapped over {unknown.what}") from None


def _unpacked(given: Any, values: Values, name: str, *, decorated: bool) -> ItemMapping:
    """The mapping of ``expand_kwargs()``."""
    if isinstance(given, list | tuple):
        rows = tuple(values.of(one, as_template) for one in given)
        keys = {tuple(sorted(row)) if isinstance(row, Object) else None for row in rows}
        if len(keys) == 1 and (only := keys.pop()) is not None:
            columns = {key: tuple(row[key] for row in rows) for key in only}
            each = [_argument(key, columns[key], _field(key)) for key in only]
            return ItemMapping(rows, {key: value for one in each for key, value in one.items()})
        if not decorated:
            raise NoForEach("its items have different arguments")
        return ItemMapping(rows, {UNPACKED: ITEM})
    if not decorated:
        found = _items(given, values, _source_name(name, given))
        step = _items_step(name, "call_arguments", (found.items,), {})
        return _computed(step, {UNPACKED: ITEM}, found.before)
    found = _items(given, values, name)
    return ItemMapping(found.items, {UNPACKED: ITEM}, found.before)


def _argument(name: str, items: Value, item: Get) -> dict[str, Value]:
    """A mapped argument; the lists of ``op_args`` must have one length."""
    if name == "op_kwargs":
        return {UNPACKED: item}
    if name != "op_args":
        return {name: item}
    lengths = {len(one) for one in items} if isinstance(items, tuple) else set()
    if len(lengths) != 1:
        raise NoForEach("its op_args are only known at run time")
    return {name: tuple(Get(item.root, (*item.tokens, Index(at))) for at in range(lengths.pop()))}


def _items(given: Any, values: Values, name: str) -> ItemMapping:
    """One list to map over, and the step that makes it, if it is computed."""
    kind = type(given).__name__
    if kind in ("ZipXComArg", "ConcatXComArg"):
        parts = [_items(one, values, f"{name[:60]}-{at}") for at, one in enumerate(given.args)]
        before = [step for one in parts for step in one.before]
        options: dict[str, Value] = {}
        if kind == "ZipXComArg" and not type(given.fillvalue).__module__.startswith("airflow."):
            options["fill"] = values.of(given.fillvalue)
        function = "zipped" if kind == "ZipXComArg" else "joined"
        step = _items_step(name, function, [one.items for one in parts], options)
        return _computed(step, before=before)
    if kind == "MapXComArg":
        base = name.removesuffix(f"-{_SOURCES[kind]}")
        found = _items(given.arg, values, _source_name(base, given.arg))
        for at, one in enumerate(given.callables, start=1):
            own = name if at == len(given.callables) else f"{name[:60]}-{at}"
            found = _computed(_each_step(own, found.items, one), before=found.before)
        return found
    if isinstance(given, Mapping):  # an item is a pair, as in Airflow
        return ItemMapping(tuple((key, values.of(one)) for key, one in given.items()), {})
    items = values.of(given, as_template)
    if isinstance(given, list | tuple) or hasattr(given, "iter_references"):
        return ItemMapping(items, {})
    raise NoForEach("it is mapped over arguments that are only known at run time")


def _source_name(name: str, given: Any) -> str:
    """The name of the step that makes the list for the step ``name``."""
    return f"{name[:57]}-{_SOURCES.get(type(given).__name__, 'all')}"


def _items_step(
    name: str, function: str, args: Sequence[Value], kwargs: Mapping[str, Value]
) -> PythonStep:
    called = Function(function, "", imported_from=_ITEMS)
    return PythonStep(name, PYTHON, call_arguments(args, kwargs), function=called)


def _each_step(name: str, items: Value, function: Any) -> PythonStep:
    """The step that calls a function of ``XComArg.map()`` for each item of a list."""
    try:
        each = of_function(function, name=identifier(name))
    except NotSelfContained as why:
        raise NoForEach(f"the function that maps its list {why}") from None
    loop = f"def {each.name}_each(items):\n    return [{each.name}(item) for item in items]"
    module = f"{(each.module or each.text or each.code).rstrip()}\n\n\n{loop}\n"
    called = Function(f"{each.name}_each", loop, text=loop, module=module)
    return PythonStep(name, PYTHON, call_arguments((items,), {}), function=called)


def _computed(
    step: PythonStep, arguments: Mapping[str, Value] = EMPTY, before: Sequence[PythonStep] = ()
) -> ItemMapping:
    """A mapping over the result of a step."""
    items = Get("Steps", (Member(step.name), Member(RETURN_VALUE)))
    return ItemMapping(items, arguments, (*before, step))


def _points(given: Any, values: Values) -> Iterator[Mapping[str, Value]]:
    """The arguments of each iteration, by map index."""
    if isinstance(given, Mapping):
        lists = list(given.values())
        if not all(isinstance(one, list | tuple) for one in lists):
            raise NoForEach("it is mapped over more than literal lists or the output of one task")
        for one in product(*lists):
            yield {key: values.of(item, as_template) for key, item in zip(given, one, strict=True)}
    elif isinstance(given, list | tuple) and all(isinstance(one, Mapping) for one in given):
        for one in given:
            yield {name: values.of(item, as_template) for name, item in one.items()}
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
    """The operator of one iteration of a mapped operator, with these values for its arguments.

    Raises :class:`NoForEach` if only a run of the DAG knows the names of the arguments.
    """
    decorated = hasattr(task, _DECORATED)
    unpacked = arguments.get(UNPACKED)
    known = {name: value for name, value in arguments.items() if name != UNPACKED}
    if unpacked is not None and decorated:
        known = {**_required(task), **known}
    elif unpacked is not None and "python_callable" not in task.partial_kwargs:
        raise NoForEach("its arguments are only known at run time")
    operator = task.unmap({"op_kwargs": known} if decorated else known)
    # partial() adds the defaults of BaseOperator to the arguments that are given.
    given = operator._BaseOperator__init_kwargs
    base = next(one for one in type(operator).__mro__ if one.__name__ == "BaseOperator")
    for name, parameter in signature(base).parameters.items():
        if name in given and str(given[name]) == str(parameter.default):
            del given[name]
    if unpacked is not None and _has_more(operator):
        operator.op_kwargs = {k: v for k, v in operator.op_kwargs.items() if not _is_field(v)}
        operator.unpacked = unpacked
    return operator


def _required(task: Any) -> dict[str, Value]:
    """The arguments without default of a @task function that its ``expand_kwargs()`` must set."""
    given = task.partial_kwargs["op_kwargs"]
    return {
        name: _field(name)
        for name, one in signature(task.python_callable).parameters.items()
        if one.default is one.empty and one.kind in _NAMED and name not in given
    }


def _has_more(operator: Any) -> bool:
    """Whether a mapped call may have more arguments than are known."""
    given = {*operator.op_kwargs, *context_names()}
    parameters = signature(operator.python_callable).parameters
    return any(one.kind is one.VAR_KEYWORD or name not in given for name, one in parameters.items())


def _is_field(value: Value) -> bool:
    return isinstance(value, Get) and value.root == ITEM.root


def limit_of(tasks: Sequence[Any], dag: Any) -> int:
    """How many task instances of the same task Airflow runs at the same time in one DAG run."""
    limits = [getattr(task, "max_active_tis_per_dagrun", None) for task in tasks]
    return min((one for one in limits if one), default=int(dag.max_active_tasks))
