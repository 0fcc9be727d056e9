"""Settings that Airflow and Prefect have, and a pipeline of SageMaker has not.

They belong to a step, or to the DAG or flow itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sagebridge.model.converters import convert, one_of
from sagebridge.model.display import words
from sagebridge.model.functions import Function
from sagebridge.model.values import ABSENT, Absent, Strict

TRIGGER_RULES = words(
    "all_success all_failed all_done all_done_min_one_success all_done_setup_success "
    "all_skipped always none_failed none_failed_min_one_success none_skipped one_done "
    "one_failed one_success"
)
"""Airflow's names (airflow.sdk.TriggerRule)."""
HOOK_EVENTS = (
    *("failure", "success", "retry", "skipped", "completion", "crashed", "cancellation"),
    "execute",
)
Engine: TypeAlias = Literal["airflow", "prefect"]


@dataclass(frozen=True, slots=True, eq=False)
class Hook(Strict):
    """A function that is called after an event of a step or run.

    ``engine`` decides its arguments: a function for Airflow gets the context, one for Prefect gets
    the task or flow, its run and the state.
    """

    event: str
    function: Function
    engine: Engine = "airflow"

    def __post_init__(self) -> None:
        special = {"event": one_of(HOOK_EVENTS), "engine": one_of(("airflow", "prefect"))}
        convert(self, "hook", special)


@dataclass(frozen=True, slots=True, eq=False)
class EngineSettings(Strict):
    """Settings of a step, or of a DAG or flow. All times are in seconds.

    Args:
        retries: how often it is tried again after a failure.
        retry_delays: the delay before each retry; the last one repeats.
        backoff: the factor by which the delay grows with each retry.
        max_retry_delay: the longest delay.
        timeout: the time limit of one try, or of a run.
        trigger_rule: the states of the steps before it that it needs, by Airflow's names; empty for
            ``all_success``.
        group: the names of the task groups around it, outermost first.
        tags: labels; Prefect limits the concurrency of tasks by their tags.
        doc: documentation in Markdown.
        pool: the pool that it takes a slot of.
        concurrency: how many of it run at the same time; of a DAG, how many runs.
        priority: a larger number runs first.
        poll_interval, poll_timeout: of a sensor: the time between two calls, and for all of them.
        poll_backoff: the factor by which the time between two calls of a sensor grows.
        soft_fail: a sensor that times out is skipped.
        skip_if_empty: a ForEach without items is skipped.
        setup: it prepares something that a step with the rule ``all_done_setup_success`` removes.
        hooks: functions that are called after events.
    """

    retries: int | Absent = ABSENT
    retry_delays: tuple[float, ...] = ()
    backoff: float | Absent = ABSENT
    max_retry_delay: float | Absent = ABSENT
    timeout: float | Absent = ABSENT
    trigger_rule: str = ""
    group: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    doc: str = ""
    pool: str = ""
    concurrency: int | Absent = ABSENT
    priority: int | Absent = ABSENT
    poll_interval: float | Absent = ABSENT
    poll_timeout: float | Absent = ABSENT
    poll_backoff: float | Absent = ABSENT
    soft_fail: bool = False
    skip_if_empty: bool = False
    setup: bool = False
    hooks: tuple[Hook, ...] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            retries: int | Absent = ABSENT,
            retry_delays: Sequence[float] = (),
            backoff: float | Absent = ABSENT,
            max_retry_delay: float | Absent = ABSENT,
            timeout: float | Absent = ABSENT,
            trigger_rule: str = "",
            group: Sequence[str] = (),
            tags: Sequence[str] = (),
            doc: str = "",
            pool: str = "",
            concurrency: int | Absent = ABSENT,
            priority: int | Absent = ABSENT,
            poll_interval: float | Absent = ABSENT,
            poll_timeout: float | Absent = ABSENT,
            poll_backoff: float | Absent = ABSENT,
            soft_fail: bool = False,
            skip_if_empty: bool = False,
            setup: bool = False,
            hooks: Sequence[Hook] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "engine settings", {"trigger_rule": one_of(("", *TRIGGER_RULES))})
        if not any(self.retry_delays):  # no delay is the default
            object.__setattr__(self, "retry_delays", ())
        # Files have an argument per event and engine, so only the order in each of them counts.
        ordered = sorted(self.hooks, key=lambda one: (HOOK_EVENTS.index(one.event), one.engine))
        object.__setattr__(self, "hooks", tuple(ordered))

    @property
    def given(self) -> dict[str, Any]:
        """The settings that do not have their defaults."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {one.name: one.default for one in fields(EngineSettings)}
)
NO_SETTINGS = EngineSettings()
