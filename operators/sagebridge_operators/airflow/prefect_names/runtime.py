"""Prefect's ``runtime``: the flow run and task run, which are a DAG run and a task instance."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Self
from uuid import NAMESPACE_URL, UUID, uuid5

from sagebridge.model.pipeline import walk
from sagebridge_operators.airflow.prefect_names.dispatch import dispatched, settled
from sagebridge_operators.airflow.prefect_names.states import (
    FailedRun,
    MissingContextError,
    State,
)
from sagebridge_operators.lifecycle.user_code.run_context import CURRENT, RUN_ENDS, RunContext


def _context() -> RunContext | None:
    return CURRENT.get()


def _task_name(context: RunContext) -> str:
    """The name of the task, which is that of its function unless the step has another one."""
    steps = {one.name: one for one in walk(context.pipeline.steps)}
    function = getattr(steps.get(context.step), "function", None)
    own = re.sub(r"-\d+$", "", context.step).replace("-", "_")
    return own if function is not None and function.name == own else context.step


class _Names:
    """Values of the run; None outside of a step, as in Prefect."""

    def __getattr__(self, name: str) -> Any:
        found = type(self)._values(_context()) if _context() is not None else {}
        if name in found:
            return found[name]
        if _context() is None and not name.startswith("_"):
            return None
        raise AttributeError(f"Airflow has no counterpart of prefect.runtime's {name!r}")

    @staticmethod
    def _values(context: Any) -> Mapping[str, Any]:
        raise NotImplementedError


def flow_run_id(dag: str, run: str) -> str:
    """An id that looks like those of Prefect: code makes names of jobs from its first part."""
    return str(uuid5(NAMESPACE_URL, f"{dag}/{run}"))


class _FlowRun(_Names):
    @staticmethod
    def _values(context: RunContext) -> Mapping[str, Any]:
        return {
            "id": flow_run_id(context.name, context.run_id),
            "name": context.run_id,
            "flow_name": context.name,
            "parameters": dict(context.parameters),
            "scheduled_start_time": context.scheduled,
            "tags": [],
            "run_count": 1,
            "parent_flow_run_id": None,
            "parent_deployment_id": None,
            "root_flow_run_id": flow_run_id(context.name, context.run_id),
            "flow_version": None,
            "api_url": None,
            "ui_url": None,
            "job_variables": {},
        }


class _TaskRun(_Names):
    @staticmethod
    def _values(context: RunContext) -> Mapping[str, Any]:
        flow_run = UUID(flow_run_id(context.name, context.run_id))
        return {
            "id": str(uuid5(flow_run, f"{context.step}/{context.index}")),
            "name": context.step,
            "task_name": _task_name(context),
            "task_key": _task_name(context),
            "flow_run_id": str(flow_run),
            "run_count": context.try_number,
            "tags": [],
            "parameters": {},
            "api_url": None,
            "ui_url": None,
        }


class _Deployment(_Names):
    @staticmethod
    def _values(context: RunContext) -> Mapping[str, Any]:
        return {
            "id": context.name,
            "name": context.name,
            "flow_id": context.name,
            "parameters": {},
            "version": None,
        }


flow_run, task_run, deployment = _FlowRun(), _TaskRun(), _Deployment()
runtime = SimpleNamespace(flow_run=flow_run, task_run=task_run, deployment=deployment)


class FlowRunContext(SimpleNamespace):
    """The context of the run: ``flow``, ``flow_run``, ``parameters`` and ``start_time``."""

    @classmethod
    def get(cls) -> Self | None:
        """The context; None outside of a step."""
        context = _context()
        if context is None:
            return None
        return cls(
            flow=SimpleNamespace(name=context.name),
            flow_run=flow_run,
            task=SimpleNamespace(name=_task_name(context)),
            task_run=task_run,
            parameters=dict(context.parameters),
            start_time=context.started,
        )


class TaskRunContext(FlowRunContext):
    """The context of the task, which also has ``task`` and ``task_run``."""


def get_run_context() -> TaskRunContext:
    """The context of the task. Raises MissingContextError outside of a step."""
    if (found := TaskRunContext.get()) is None:
        raise MissingContextError("no run: this works only in the code of a running step")
    return found


@dispatched
def run_deployment(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    scheduled_time: datetime | None = None,
    timeout: float | None = None,
    poll_interval: float = 5,
    idempotency_key: str | None = None,
    **more: Any,
) -> Any:
    """Starts a run of the DAG that has the name of the deployment or its flow, and waits for it.

    Returns an object with ``id`` and ``state``. With ``timeout=0`` it does not wait.
    """
    context = _context()
    if context is None or context.runs is None:
        raise MissingContextError("run_deployment() works only in the code of a running step")
    runs, dag = context.runs, name.partition("/")[0]
    run = runs.start(
        dag, parameters or {}, run_id=idempotency_key or "", logical_date=scheduled_time
    )
    until = None if timeout is None else time.monotonic() + timeout
    state = runs.state(dag, run)
    while state not in RUN_ENDS and (until is None or time.monotonic() < until):
        time.sleep(poll_interval)
        state = runs.state(dag, run)
    if not state:
        raise FailedRun(f"there is no run {run!r} of the DAG {dag!r}")
    names = {"Succeeded": "Completed", "Stopped": "Cancelled", "Executing": "Running"}
    return SimpleNamespace(id=run, name=run, state=State(names.get(state, state)))


async def arun_deployment(name: str, **options: Any) -> Any:
    """As :func:`run_deployment`."""
    return await settled(run_deployment(name, **options))
