"""Hooks of Prefect as callbacks of Airflow: ``on_failure=[notify]`` of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

_CALLBACKS: Mapping[str, str] = {
    "on_failure": "on_failure_callback",
    "on_completion": "on_success_callback",
}
"""Airflow has no counterpart of ``on_crashed`` and ``on_cancellation``: no code of it runs then."""


def with_callbacks(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operator with a callback for each of its hooks."""
    found = dict(given)
    for hook, callback in _CALLBACKS.items():
        failed = hook == "on_failure"
        own = [partial(call_hook, one, failed) for one in _listed(given.get(hook))]
        if own:
            found[callback] = [*_listed(given.get(callback)), *own]
    return found


def call_hook(hook: Callable[..., Any], failed: bool, context: Mapping[str, Any]) -> None:
    """Calls a hook with the task, its run and the state, as Prefect does."""
    # Imported here: parsing a DAG does not need it.
    from sagebridge_operators.airflow.prefect_names.states import OF_TASK, Completed, Failed

    ti, error = context["ti"], context.get("exception")  # absent in Airflow 3.1
    state = Failed(f"{OF_TASK} {error or ''}".rstrip(), error) if failed else Completed()
    run = SimpleNamespace(
        id=f"{ti.run_id}/{ti.task_id}",
        name=ti.task_id,
        flow_run_id=ti.run_id,
        run_count=ti.try_number,
        state=state,
    )
    function = getattr(context.get("task"), "python_callable", None)
    name = getattr(function, "__name__", ti.task_id)  # that of a task of Prefect
    hook(SimpleNamespace(name=name, task_key=name, fn=function), run, state)


class FlowHook:
    """A hook of a Prefect flow as a callback of a DAG: ``on_failure_callback=[FlowHook(notify)]``.

    Args:
        hook: a function of the flow, its run and the state.
    """

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.prefect_hook = hook

    def __call__(self, context: Mapping[str, Any]) -> None:
        # Imported here: parsing a DAG does not need it.
        from sagebridge_operators.airflow.prefect_names import Completed, Failed

        dag, run_id, reason = context["dag"], context["run_id"], str(context.get("reason") or "")
        # Airflow's reasons: "success", "all_tasks_skipped", "task_failure", "timed_out" and others.
        succeeded = reason in ("success", "all_tasks_skipped")
        state = Completed(reason) if succeeded else Failed(reason)
        run = SimpleNamespace(id=run_id, name=run_id, state=state)
        # The name of the flow, if it cannot be the id of a DAG.
        pipeline = (getattr(dag, "default_args", None) or {}).get("pipeline") or {}
        flow = SimpleNamespace(name=pipeline.get("PipelineName", dag.dag_id))
        self.prefect_hook(flow, run, state)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
