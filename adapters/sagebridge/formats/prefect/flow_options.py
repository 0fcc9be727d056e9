"""Options of a traced flow and its tasks that have no equivalent in a pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from sagebridge.formats.prefect.constructs import (
    CACHING,
    FLOW_OPTIONS,
    ONLY_PREFECT,
    SUBFLOW_OPTIONS,
    TASK_OPTIONS,
    Table,
    option_losses,
    rule_of,
)
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.function_source import NotSelfContained, of_function
from sagebridge.model.engine_settings import EngineSettings, Hook
from sagebridge.model.losses import AT_THE_END
from sagebridge.model.values import ABSENT

_KEPT = ("retries", "retry_delay_seconds", "timeout_seconds")
"""Options that are engine settings of the pipeline or step."""
_ATTRIBUTES = {
    "cache_policy": "_user_cache_policy",
    "persist_result": "_user_persist_result",
    "validate_parameters": "should_validate_parameters",
}
"""The attributes of a Flow or Task that have another name than the argument.

The public ones of caching also have what Prefect derives (Task.__init__ in prefect/tasks.py).
"""


def unsupported_options(item: Any) -> Iterator[Unsupported]:
    """The losses of the options of a Flow or Task that differ from Prefect's defaults."""
    import prefect

    if isinstance(item, prefect.Flow):
        return option_losses(FLOW_OPTIONS, _given(item, FLOW_OPTIONS, _KEPT))
    return option_losses(TASK_OPTIONS, _given(item, TASK_OPTIONS, (*_KEPT, "tags")))


def lost_of_subflow(flow: Any, *, in_code: bool) -> Iterator[Unsupported]:
    """The losses of a flow whose steps become steps of another flow, or that a step calls."""
    # prefect_names repeats and limits a flow that a step calls.
    given = dict(_given(flow, SUBFLOW_OPTIONS, _KEPT if in_code else ()))
    for name in [f"on_{event}" for event in (*_EVENTS, "running")]:
        if hooks := hooks_of(flow, name):
            given[name] = ", ".join(map(_text, hooks))
    if (limit := parallel_limit(flow)) is not None:
        given["task_runner"] = f"{type(flow.task_runner).__name__}(max_workers={limit})"
    return option_losses(SUBFLOW_OPTIONS, given.items())


def _given(item: Any, table: Table, kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options with a rule that differ from the defaults, with their values as strings."""
    import prefect

    is_flow = isinstance(item, prefect.Flow)
    decorator: Any = prefect.flow if is_flow else prefect.task
    plain = (prefect.Flow if is_flow else prefect.Task)(_nothing)
    for name in dict.fromkeys((*table, *inspect.signature(decorator).parameters)):
        value = None if name in kept else _option(item, name)
        rule = rule_of(table, name)
        if rule is not None and value and value != _option(plain, name):
            yield name, "" if rule is ONLY_PREFECT else _text(value)
        elif rule is not None and value is False and _option(plain, name):
            yield name, "" if rule is ONLY_PREFECT else "False"


def lost_in_code(task: Any) -> Iterator[Unsupported]:
    """The losses of a task that a step calls itself: caching and all hooks."""
    yield from (one for one in unsupported_options(task) if one.code == CACHING.code)
    for name in [f"on_{event}" for event in _EVENTS if hooks_of(task, f"on_{event}")]:
        yield Unsupported("callback", "dropped", f"{name} hooks are not called", AT_THE_END)


def _nothing() -> None:
    """The function of a flow or task without options."""


def _option(item: Any, name: str) -> Any:
    """The value of an option; hooks without sagebridge's own."""
    value = getattr(item, _ATTRIBUTES.get(name, name), getattr(item, name, None))
    if name.startswith("on_"):
        return [
            getattr(one, "__name__", repr(one)) for one in hooks_of(item, name) if not _hook(one)
        ]
    if name == "description" and value == inspect.getdoc(item.fn):
        return None  # the docstring, which the function keeps
    if name == "task_runner" and type(value).__name__ == "ThreadPoolTaskRunner":
        return None  # parallel_limit reads it
    # NO_CACHE is an instance of _None (prefect/cache_policies.py), and NotSet is a class.
    if name == "cache_policy" and type(value).__name__ in ("DefaultPolicy", "_None", "type"):
        return None
    return value


def _text(value: Any) -> str:
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
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


def flow_settings(flow: Any) -> EngineSettings:
    """The settings of a flow that Airflow has too."""
    return EngineSettings(**_common(flow), hooks=_hooks(flow))


def task_settings(task: Any, tags: Sequence[str]) -> EngineSettings:
    """The settings of a call of a task."""
    own = tuple(dict.fromkeys((*tags, *sorted(task.tags or ()))))
    return EngineSettings(**_common(task), tags=own, hooks=_hooks(task))


def _common(item: Any) -> dict[str, Any]:
    """Retries and the time limit."""
    retries, delay = item.retries or 0, getattr(item, "retry_delay_seconds", None) or ()
    if callable(delay):
        delay = delay(retries)
    delays = delay if isinstance(delay, list | tuple) else [delay]
    return {
        "retries": retries or ABSENT,
        "retry_delays": [float(one) for one in delays] if retries else (),
        "timeout": ABSENT if item.timeout_seconds is None else float(item.timeout_seconds),
    }


_EVENTS = ("failure", "completion", "crashed", "cancellation")


def _hooks(item: Any) -> list[Hook]:
    found = ((event, one) for event in _EVENTS for one in hooks_of(item, f"on_{event}"))
    hooks = ((event, _hook(one)) for event, one in found)
    return [Hook(event, function, "prefect") for event, function in hooks if function]


def _hook(hook: Any) -> Any:
    """The function of a hook that can be carried; None for others."""
    try:
        return of_function(hook, decorated=True, name="hook")
    except NotSelfContained:
        return None


def hooks_of(item: Any, name: str) -> list[Any]:
    """The hooks of a flow or task, without sagebridge's own."""
    return [one for one in getattr(item, f"{name}_hooks", None) or () if not _is_own(one)]


def _is_own(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("sagebridge_operators.")
