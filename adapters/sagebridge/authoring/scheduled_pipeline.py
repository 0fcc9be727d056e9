"""Pipelines with the schedules and triggers of another document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sagebridge.authoring.eventbridge_requests import is_pipe, is_rule
from sagebridge.model.display import free_name
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.parameters import ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import EMPTY, Object, Value


def with_schedules(pipeline: Pipeline, other: Pipeline) -> Pipeline:
    """The pipeline with the schedules and event triggers of another one.

    One of ``other`` replaces one of the pipeline with the same name. Strings of EventBridge become
    values of the declared types; a string that is not of its type is kept, and ``validate`` reports
    it.
    """
    known = {one.name: one for one in pipeline.declared}

    def typed(name: str, value: Value) -> Value:
        if name not in known or not isinstance(value, str):
            return value
        try:
            return coerce_one(known[name], value)
        except ParameterValueError:
            return value

    def merged(starters: Iterable[Any]) -> Iterator[Any]:
        for one in {one.name: one for one in starters}.values():
            parameters = {name: typed(name, value) for name, value in one.parameters.items()}
            yield replace(one, parameters=parameters)

    return replace(
        pipeline,
        schedules=tuple(merged((*pipeline.schedules, *other.schedules))),
        event_triggers=tuple(merged((*pipeline.event_triggers, *other.event_triggers))),
    )


def with_free_names(
    items: Sequence[Starter],
) -> tuple[tuple[Schedule, ...], tuple[EventTrigger, ...]]:
    """Schedules and triggers with different names; a renamed one keeps its name in ``extra``."""
    taken: set[str] = set()
    result: list[Starter] = []
    for item in items:
        name = free_name(item.name, taken, separator="-")
        taken.add(name)
        result.append(item if name == item.name else renamed(item, name))
    return (
        tuple(one for one in result if isinstance(one, Schedule)),
        tuple(one for one in result if isinstance(one, EventTrigger)),
    )


def renamed(item: Starter, name: str) -> Starter:
    """A schedule or trigger with a new name; requests keep its old name."""
    holder = _holder(item)
    keys = item.extra.get(holder, EMPTY) if holder else item.extra
    own = Object({**keys, "Name": item.name})
    return replace(item, name=name, extra=Object({**item.extra, holder: own}) if holder else own)


def _holder(item: Starter) -> str:
    """The key of ``extra`` with the keys of the request; empty if it is ``extra`` itself."""
    if isinstance(item, Schedule):
        return "Rule" if is_rule(item) else ""
    return "Pipe" if is_pipe(item) else ""
