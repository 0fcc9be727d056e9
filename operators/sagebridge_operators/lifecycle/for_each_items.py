"""The items of a ForEach step: resolved once, recorded in its attempt, read by its body steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.for_each import MOST_CONCURRENT, ForEachStep
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.masking import mask
from sagebridge_operators.lifecycle.outages import patiently
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.user_code.kept_secrets import masked
from sagebridge_operators.lifecycle.user_code.values import TAG, escaped, inside, untagged
from sagebridge_operators.run_errors import StepFailed

PATIENCE = 120.0
"""Seconds for which a ForEach waits out an outage of the records or the service."""
MOST_ITEMS = 100
"""Most items of a list in a definition (ForEach step, SageMaker AI Developer Guide)."""
LARGEST_ITEM = 12800
"""Most characters of an item in a record of the service (IterationContext in its API)."""


def recorded(records: ExecutionRecords, execution: str, step: str) -> Attempt | None:
    """The latest attempt of a ForEach that has its items; None if they are not known yet."""
    known = [one for one in records.attempts(execution, step, ()) if one.items is not None]
    return max(known, key=lambda one: one.order, default=None)


def item_of(records: ExecutionRecords, execution: str, step: str, index: int) -> Any:
    """The item of one iteration, ``ForEach.CurrentItem``. Raises StepFailed without a record."""
    there = patiently(lambda: recorded(records, execution, step), PATIENCE)
    items = (there.items if there is not None else None) or ()
    if index >= len(items):
        text = f"ForEach step {step!r} has {len(items)} items, so none for iteration {index}"
        raise StepFailed(text, kind="unresolvable")
    return items[index]


def is_code(step: ForEachStep) -> bool:
    """Whether the result of a ForEach is that of code, so that SageMaker's limits do not apply."""
    return bool(step.inner) and isinstance(step.inner[-1], CarriedStep)


def has_code(step: ForEachStep) -> bool:
    """Whether a step of the body is code, which gets items with their types."""
    return any(isinstance(one, CarriedStep) for one in step.inner)


def items_of(step: ForEachStep, resolve: Resolver) -> list[Any]:
    """The items of a ForEach: a list, or the list in a JSON string. Raises StepFailed.

    The items of a dict are its pairs, if the body is code.
    """
    found = resolve(step.items)
    found = inside(found) if resolve.tagged else escaped(found)
    if isinstance(found, dict) and is_code(step):
        found = [{TAG: "tuple", "value": list(pair)} for pair in found.items()]
    place = f"IterableItems of step {step.name!r}"
    source = resolve.source_of(step.items)
    named = f"{place}, {source}" if source else place
    if isinstance(found, str):
        try:
            found = escaped(json.loads(found))
        except ValueError:
            raise StepFailed(
                f'{named}: expected a JSON list such as ["a", "b"], got {short(found)}',
                kind="unresolvable",
            ) from None
    if not isinstance(found, list):
        text = f"{named}: expected a list, got {short(found)}"
        raise StepFailed(text, kind="unresolvable")
    written = isinstance(step.items, Sequence) and not isinstance(step.items, str)
    if written and not is_code(step) and not 1 <= len(found) <= MOST_ITEMS:
        text = f"{place}: expected 1 to {MOST_ITEMS} items, got {len(found)}"
        raise StepFailed(text, kind="unresolvable")
    return found


def limit_of(step: ForEachStep, resolve: Resolver) -> int:
    """How many iterations may run at the same time. Raises StepFailed."""
    found = 1 if step.max_concurrency is ABSENT else resolve(step.max_concurrency)
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not whole or not 1 <= found <= MOST_CONCURRENT:
        raise StepFailed(
            f"MaxConcurrency of step {step.name!r}: expected 1 to {MOST_CONCURRENT}, got {found!r}",
            kind="unresolvable",
        )
    return int(found)


def owner_of(pipeline: Pipeline | None, name: str) -> ForEachStep | None:
    """The ForEach whose body has the step ``name``."""
    for step in walk(pipeline or ()):
        if isinstance(step, ForEachStep) and any(one.name == name for one in step.inner):
            return step
    return None


def shown_item(item: Any) -> str:
    """An item as users see it: at most 12,800 characters, as in a record of the service.

    Values whose name looks secret are masked.
    """
    text = item if isinstance(item, str) else json.dumps(mask(untagged(masked(item))))
    return text[:LARGEST_ITEM]


def short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
