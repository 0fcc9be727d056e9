"""Checks of a flow's steps and settings, before the first step starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagebridge.authoring.declared_names import find_faults, suggestion
from sagebridge.authoring.step_arguments import RETRIES, RETRY_DELAY
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.schedules import at_slot
from sagebridge.model.values import ABSENT
from sagebridge_operators.backends import max_parallel
from sagebridge_operators.lifecycle.backend import NAMES
from sagebridge_operators.prefect import step_tasks
from sagebridge_operators.run_errors import InvalidPipeline


def check_names(
    flow: str, pipeline: Pipeline, settings: Mapping[str | None, Mapping[str, Any]]
) -> None:
    """Raises InvalidPipeline with all unknown names and wrong settings.

    ``settings`` are those of each step; those of ``begin()`` have the key None.
    """
    steps = list(walk(pipeline))
    parameters = [one.name for one in pipeline.declared]
    faults = find_faults(steps, [step.name for step in steps], parameters)
    for name, own in settings.items():
        backend, retries = own.get("backend"), own.get(RETRIES)
        where = "begin()" if name is None else f"step {name!r}"
        if retries is not None and (type(retries) is not int or retries < 0):
            faults.append(f"{where}: retries must be a whole number from 0, got {retries!r}")
        if problem := step_tasks.delay_problem(own.get(RETRY_DELAY)):
            faults.append(f"{where}: {problem}")
        if backend is not None and backend not in NAMES:
            faults.append(f"{where}: unknown backend {backend!r}{suggestion(backend, NAMES)}")
    if faults:
        raise InvalidPipeline(flow, faults)


def given_values(context: Any) -> dict[str, Any]:
    """The parameters of a flow run; ``<aws.scheduler.scheduled-time>`` is the time of its slot."""
    given = dict(context.parameters or {})
    slot = context.flow_run.expected_start_time
    return given if slot is None else at_slot(given, slot)


def parallel_limit(pipeline: Pipeline) -> float:
    """The most steps at a time. A step that waits for a retry counts, as in SageMaker.

    The task runner of the flow may have more threads.
    """
    own = pipeline.parallelism
    return max_parallel() or (math.inf if own is ABSENT else own.max_parallel_execution_steps)
