"""Options of a traced flow and its tasks that have no equivalent in a pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from sagebridge.formats.prefect.constructs import (
    FLOW_OPTIONS,
    ONLY_PREFECT,
    TASK_OPTIONS,
    option_losses,
    rule_of,
)
from sagebridge.formats.python.engine_losses import Unsupported

_ATTRIBUTES = {"validate_parameters": "should_validate_parameters"}
"""The attributes of a Flow or Task that have another name than the argument."""


def unsupported_options(item: Any) -> Iterator[Unsupported]:
    """The losses of the options of a Flow or Task that differ from Prefect's defaults."""
    import prefect

    is_flow = isinstance(item, prefect.Flow)
    table, decorator = (FLOW_OPTIONS, prefect.flow) if is_flow else (TASK_OPTIONS, prefect.task)
    plain = (prefect.Flow if is_flow else prefect.Task)(_nothing)
    names = dict.fromkeys((*table, *inspect.signature(decorator).parameters))
    given = []
    for name in names:
        value = _option(item, name)
        rule = rule_of(table, name)
        if rule is not None and value and value != _option(plain, name):
            given.append((name, "" if rule is ONLY_PREFECT else _text(value)))
        elif rule is not None and value is False and _option(plain, name):
            given.append((name, "" if rule is ONLY_PREFECT else "False"))
    return option_losses(table, given)


def _nothing() -> None:
    """The function of a flow or task without options."""


def _option(item: Any, name: str) -> Any:
    """The value of an option; hooks without sagebridge's own."""
    value = getattr(item, _ATTRIBUTES.get(name, name), None)
    if name.startswith("on_"):
        return [one for one in getattr(item, f"{name}_hooks", None) or () if not _is_own(one)]
    if name == "task_runner" and type(value).__name__ == "ThreadPoolTaskRunner":
        return None  # parallel_limit reads it
    # NO_CACHE is an instance of _None (prefect/cache_policies.py), which has no public name.
    if name == "cache_policy" and type(value).__name__ in ("DefaultPolicy", "_None"):
        return None
    return value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(map(repr, value)))
    return repr(value)


def description(flow: Any) -> str | None:
    """The ``description`` given to a flow; Prefect's default is the docstring."""
    given = flow.description
    return given if isinstance(given, str) and given != inspect.getdoc(flow.fn) else None


def parallel_limit(flow: Any) -> int | None:
    """How many tasks may run at a time; None if the flow sets no limit."""
    # ThreadPoolTaskRunner has no public attribute for it (prefect/task_runners.py).
    workers = getattr(flow.task_runner, "_max_workers", None)
    return workers if isinstance(workers, int) and 0 < workers <= 10_000 else None


def _is_own(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("sagebridge_operators.")
