"""What the result of a step's code decides: which steps are skipped, and whether a sensor waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.code_steps import BRANCH, DIRECT_GATE, GATE, PythonStep
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.trigger_rules import SETUP_RULE
from sagebridge_operators.run_errors import StepFailed, StepSkipped, StepStopped

POLL_INTERVAL, POLL_TIMEOUT = 60.0, 7 * 24 * 3600.0
"""Seconds; the defaults of sensors in Airflow ([sensors] default_timeout)."""
_SLICE = 0.2


def skipped_by(step: PythonStep, result: Any, pipeline: Pipeline) -> list[str] | None:
    """The steps that the result of a step skips, in definition order; None for other roles.

    As in Airflow, a direct dependant of a branch that also comes after a chosen one is not skipped,
    and a gate does not skip teardowns. Raises StepFailed if the result of a branch is not the name
    of a step or a list of such names.
    """
    import networkx as nx  # slow to import

    if step.role not in (BRANCH, GATE, DIRECT_GATE):
        return None
    edges, direct = graph(pipeline), set[str]()
    if step.name in edges:
        direct = set(edges.successors(step.name))
    steps = {one.name: one for one in walk(pipeline)}
    if step.role == BRANCH:
        chosen = _chosen(step.name, result, pipeline, direct)
        found = direct - chosen.union(*(nx.descendants(edges, name) for name in chosen))
    elif result:
        found = set()
    else:
        found = nx.descendants(edges, step.name) if step.role == GATE and direct else direct
        found = {name for name in found if steps[name].engine.trigger_rule != SETUP_RULE}
    return [name for name in steps if name in found]


def _chosen(step: str, result: Any, pipeline: Pipeline, direct: Collection[str]) -> set[str]:
    """The steps that the result of a branch names."""
    if result is None:
        return set()
    given = [result] if isinstance(result, str) else result
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        given = [given]
    names: set[str] = set()
    unknown: list[str] = []
    for one in given:
        found = set(named_steps(pipeline, one, direct)) if isinstance(one, str) else set()
        names |= found
        unknown += [] if found else [repr(one)]
    if unknown:
        raise StepFailed(
            f"step {step!r} returned {', '.join(unknown)}, which is not a step of the pipeline; "
            "return None, the name of a step, or a list of names",
            kind="code",
        )
    return names


def named_steps(
    pipeline: Pipeline, name: str, direct: Collection[str] | None = None
) -> Iterator[str]:
    """The steps that user code means with a name: a step, with or without its groups, or a group.

    A group means its steps among ``direct``.
    """
    steps = list(walk(pipeline))
    if any(step.name == name for step in steps):
        yield name
        return
    for step in steps:
        path = ".".join(step.engine.group)
        if f"{path}.{step.name}" == name:
            yield step.name
            return
    for step in steps:
        path = ".".join(step.engine.group)
        if direct is not None and step.name in direct and f"{path}.".startswith(f"{name}."):
            yield step.name


@dataclass(frozen=True, slots=True)
class Polling:
    """How often a sensor is called, and for how long. Times are in seconds.

    Args:
        backoff: the factor by which the pause grows.
        longest: the longest pause.
        soft_fail: skip the step instead of failing it.
    """

    interval: float = POLL_INTERVAL
    timeout: float = POLL_TIMEOUT
    backoff: float = 1.0
    longest: float = math.inf
    soft_fail: bool = False

    @classmethod
    def of(cls, settings: EngineSettings) -> Polling:
        given = {
            "interval": settings.poll_interval,
            "timeout": settings.poll_timeout,
            "backoff": settings.poll_backoff,
            "soft_fail": settings.soft_fail,
        }
        # mypy checks each argument against the joined type of the dict's values.
        return cls(**{name: one for name, one in given.items() if one is not ABSENT})  # type: ignore[arg-type]

    def pauses(self) -> Iterator[float]:
        """The time after each call."""
        pause = self.interval
        while True:
            yield min(pause, self.longest)
            pause *= self.backoff


def poll(
    call: Callable[[], Any],
    polling: Polling,
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
    *,
    waited: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Calls a sensor until its result is true.

    ``waited`` are the seconds that an earlier worker has waited. Returns the ``xcom_value`` of the
    last result if it is a PokeReturnValue, otherwise None.

    Raises StepFailed after the timeout, StepSkipped if that is a soft failure, StepStopped.
    """
    began = clock() - waited
    pauses = polling.pauses()
    while True:
        try:
            result = call()
        except StepSkipped:
            raise
        except StepFailed as failed:
            # Airflow skips a sensor after these only, not after other exceptions.
            if polling.soft_fail and failed.kind in ("final", "time-limit"):
                raise StepSkipped(f"{failed} (soft_fail)") from failed
            raise
        if result:
            return getattr(result, "xcom_value", None)
        if (took := clock() - began) > polling.timeout:
            text = f"the sensor timed out after {took:.0f} s (limit: {polling.timeout:g} s)"
            raise StepSkipped(text) if polling.soft_fail else StepFailed(text, kind="final")
        pause = next(pauses)
        if polling.backoff != 1:
            pause = max(0.0, min(pause, polling.timeout - took))
            line(f"the next call is in {pause:.0f} s")
        until = clock() + pause
        while (left := until - clock()) > 0:
            if stop_requested():
                raise StepStopped("stopped while its sensor waited")
            sleep(min(left, _SLICE))
