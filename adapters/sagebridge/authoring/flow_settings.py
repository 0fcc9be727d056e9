"""The engine settings of a step as arguments in a flow, by Prefect's names where it has them.

``retries=3, retry_delay_seconds=300, timeout_seconds=60, trigger_rule="all_done", tags=["x"]``. A
function in ``on_failure=[…]`` is a hook of Prefect, which gets the task, its run and the state. One
in ``on_failure_callback=[…]`` is a callback of Airflow, which gets the context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from sagebridge.errors import ModelTypeError
from sagebridge.model.engine_settings import HOOK_EVENTS, Engine, EngineSettings, Hook
from sagebridge.model.functions import Function
from sagebridge.model.values import ABSENT

RETRY_DELAY = "retry_delay_seconds"
_RENAMED: Mapping[str, str] = {
    "retry_delays": RETRY_DELAY,
    "backoff": "retry_backoff",
    "max_retry_delay": "max_retry_delay_seconds",
    "timeout": "timeout_seconds",
}
_ARGUMENTS: Mapping[str, str] = {
    _RENAMED.get(one.name, one.name): one.name
    for one in fields(EngineSettings)
    if one.name != "hooks"
}
_ENGINES: Mapping[str, Engine] = {"": "prefect", "_callback": "airflow"}
HOOK_ARGUMENTS: Mapping[str, tuple[str, Engine]] = {
    f"on_{event}{ending}": (event, engine)
    for event in HOOK_EVENTS
    for ending, engine in _ENGINES.items()
}
"""The event and engine of each argument that contains hooks."""
ENGINE_ARGUMENTS = (*_ARGUMENTS, *HOOK_ARGUMENTS)
"""All arguments of engine settings, in the order in which files are written."""
FLOW_ARGUMENTS = ("tags", "doc", "concurrency", *(f"on_{one}_callback" for one in HOOK_EVENTS))
"""Those of ``begin()``. The others of a flow are options of its decorator, ``@flow(retries=1)``."""


class LiveHook(NamedTuple):
    """A hook of a running flow."""

    event: str
    engine: Engine
    function: Callable[..., Any]


def read_settings(
    given: dict[str, Any], place: str = "begin()"
) -> tuple[EngineSettings, list[LiveHook]]:
    """The settings in the arguments of a step, which are removed, and its functions.

    Functions may be given as source, too. Raises ModelTypeError with the place.
    """
    hooks: list[Hook] = []
    live: list[LiveHook] = []
    for name, (event, engine) in HOOK_ARGUMENTS.items():
        for one in _listed(given.pop(name, None)):
            function = one if isinstance(one, Function) else None
            if function is None:
                if not callable(one):
                    raise TypeError(f"{place}: {name} expects functions, got {one!r}")
                live.append(LiveHook(event, engine, one))
                function = Function(getattr(one, "__name__", ""), "")
            hooks.append(Hook(event, function, engine))
    values = {field: given.pop(name) for name, field in _ARGUMENTS.items() if name in given}
    values = {field: value for field, value in values.items() if value is not None}
    if callable(delays := values.get("retry_delays", ())):  # Prefect's exponential_backoff()
        delays = delays(values.get("retries") or 0)
    values["retry_delays"] = _listed(delays)
    try:
        return EngineSettings(**values, hooks=hooks), live
    except ModelTypeError as wrong:
        raise ModelTypeError([f"{place}: {one}" for one in wrong.problems]) from None


def _listed(value: Any) -> Sequence[Any]:
    """A list, or a single value as a list."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def written_settings(settings: EngineSettings) -> Iterator[tuple[str, Any]]:
    """The arguments that give equal settings; those of hooks are lists of :class:`Function`."""
    given = settings.given
    for name, field in _ARGUMENTS.items():
        if field in given:
            value = given[field]
            if isinstance(value, tuple):
                value = value[0] if name == RETRY_DELAY and len(value) == 1 else list(value)
            yield name, value
    for name, (event, engine) in HOOK_ARGUMENTS.items():
        kept = [one for one in settings.hooks if (one.event, one.engine) == (event, engine)]
        if kept:
            yield name, [one.function for one in kept]


def retry_delays(settings: EngineSettings) -> list[float]:
    """The delay before each retry, in seconds, with the factor and limit of the settings."""
    retries = 0 if settings.retries is ABSENT else settings.retries
    known = settings.retry_delays or (0.0,)
    factor = 1.0 if settings.backoff is ABSENT else settings.backoff
    delays = [
        known[min(number, len(known) - 1)] * factor ** max(0, number - len(known) + 1)
        for number in range(retries)
    ]
    limit = settings.max_retry_delay
    return delays if limit is ABSENT else [min(delay, limit) for delay in delays]
