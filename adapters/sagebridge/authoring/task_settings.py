"""The engine settings of a step as arguments of its operator, by Airflow's names where it has them.

``retries=3, retry_delay=timedelta(seconds=300), trigger_rule="all_done"``. A function in
``on_failure_callback=[…]`` is a callback of Airflow, which gets the context. One in
``on_failure=[…]`` is a hook of Prefect, which gets the task, its run and the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from sagebridge.authoring.flow_settings import LiveHook
from sagebridge.model.engine_settings import HOOK_EVENTS, NO_SETTINGS, Engine, EngineSettings, Hook
from sagebridge.model.functions import Function

RETRY_DELAYS = "retry_delays"
_CALLBACKS: Mapping[str, str] = {f"on_{one}_callback": one for one in HOOK_EVENTS}
_HOOKS: Mapping[str, str] = {f"on_{one}": one for one in HOOK_EVENTS}
_HOOK_ARGUMENTS: Sequence[tuple[Mapping[str, str], Engine]] = (
    (_CALLBACKS, "airflow"),
    (_HOOKS, "prefect"),
)
DAG_EVENTS: Mapping[str, str] = {
    "failure": "on_failure_callback",
    "completion": "on_success_callback",
}
"""The callback of a DAG that calls the hooks of a Prefect flow, by event."""
AIRFLOW_EVENTS = ("failure", "success", "retry", "skipped", "execute")
"""The events for which Airflow has callbacks."""
_ARGUMENTS: Mapping[str, str] = {
    "retries": "retries",
    "retry_delay": "retry_delays",
    "retry_exponential_backoff": "backoff",
    "max_retry_delay": "max_retry_delay",
    "execution_timeout": "timeout",
    "trigger_rule": "trigger_rule",
    "tags": "tags",
    "doc_md": "doc",
    "pool": "pool",
    "max_active_tis_per_dag": "concurrency",
    "priority_weight": "priority",
    "poke_interval": "poll_interval",
    "timeout": "poll_timeout",
    "exponential_backoff": "poll_backoff",
    "soft_fail": "soft_fail",
    "skip_if_empty": "skip_if_empty",
    "setup": "setup",
}
_TIMES = frozenset(("retry_delay", "max_retry_delay", "execution_timeout"))
_DAG_ARGUMENTS: Mapping[str, str] = {
    "dagrun_timeout": "timeout",
    "max_active_runs": "concurrency",
    "doc_md": "doc",
}
_OWN: Mapping[str, str] = {
    RETRY_DELAYS: "retry_delays",
    "tags": "tags",
    "poke_interval": "poll_interval",
    "timeout": "poll_timeout",
    "exponential_backoff": "poll_backoff",
    "soft_fail": "soft_fail",
    "skip_if_empty": "skip_if_empty",
    "setup": "setup",
}
OWN_ARGUMENTS = (
    *_OWN,
    *_HOOKS,
    *(name for name, event in _CALLBACKS.items() if event not in AIRFLOW_EVENTS),
)
"""Arguments of sagebridge operators that BaseOperator does not have."""


def written_settings(settings: EngineSettings) -> Iterator[tuple[str, Any]]:
    """The arguments of an operator that give equal settings; hooks are lists of Functions."""
    given = settings.given
    for name, field in _ARGUMENTS.items():
        if field not in given:
            if name == "retry_delay" and "retries" in given:  # operators have another default
                yield name, timedelta(0)
            continue
        value = given[field]
        if name == "retry_delay" and len(value) > 1:
            yield RETRY_DELAYS, list(value)
        elif name == "retry_delay":
            yield name, timedelta(seconds=value[0])
        elif name in _TIMES:
            yield name, timedelta(seconds=value)
        else:
            yield name, list(value) if isinstance(value, tuple) else value
    yield from _written_hooks(settings)


def written_dag_settings(settings: EngineSettings) -> Iterator[tuple[str, Any]]:
    """The arguments of a DAG other than its tags."""
    for name, field in _DAG_ARGUMENTS.items():
        if field in settings.given:
            value = settings.given[field]
            yield name, timedelta(seconds=value) if field == "timeout" else value
    for name, functions in _written_hooks(settings):
        if name in ("on_failure_callback", "on_success_callback"):
            yield name, functions


def flow_hooks(settings: EngineSettings) -> Iterator[tuple[str, Function]]:
    """Hooks of a Prefect flow that a DAG calls, each with the argument of the DAG."""
    for hook in settings.hooks:
        if hook.engine == "prefect" and hook.event in DAG_EVENTS:
            yield DAG_EVENTS[hook.event], hook.function


def _written_hooks(settings: EngineSettings) -> Iterator[tuple[str, list[Function]]]:
    for names, engine in _HOOK_ARGUMENTS:
        for name, event in names.items():
            own = [one for one in settings.hooks if (one.event, one.engine) == (event, engine)]
            if own:
                yield name, [one.function for one in own]


def read_own_settings(given: dict[str, Any]) -> tuple[EngineSettings, list[LiveHook]]:
    """The settings in the arguments of an operator that BaseOperator does not have, and its hooks.

    They are removed from ``given``.
    """
    values = {field: given.pop(name) for name, field in _OWN.items() if name in given}
    live: list[LiveHook] = []
    for names, engine in _HOOK_ARGUMENTS:
        for name, event in names.items():
            functions = given.pop(name, ()) if name in OWN_ARGUMENTS else ()
            listed = functions if isinstance(functions, list | tuple) else [functions]
            live += [LiveHook(event, engine, one) for one in listed]
    hooks = [Hook(one.event, _named(one.function), one.engine) for one in live]
    return EngineSettings(**values, hooks=hooks), live


def _named(function: Any) -> Function:
    return Function(getattr(function, "__name__", ""), "")


def merged(first: EngineSettings, second: EngineSettings) -> EngineSettings:
    """The settings of both; those of the second win."""
    hooks = (*first.hooks, *second.hooks)
    changed = {one.name: getattr(second, one.name) for one in fields(second)}
    changed = {name: value for name, value in changed.items() if name in second.given}
    return replace(first, **{**changed, "hooks": hooks}) if second != NO_SETTINGS else first
