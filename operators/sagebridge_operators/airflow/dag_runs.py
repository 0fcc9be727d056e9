"""Other DAG runs, for the code of steps and for the small DAGs that start pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2

_RUN_STATES = {"queued": "Pending", "running": "Executing", "success": "Succeeded"}
_TASK_STATES = {
    "success": "Succeeded",
    "failed": "Failed",
    "upstream_failed": "NotRun",
    "skipped": "Skipped",
    "removed": "Skipped",
}


class DagRuns:
    """The DAG runs of Airflow, as :class:`~.lifecycle.user_code.run_context.PipelineRuns`."""

    def start(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        run_id: str = "",
        logical_date: datetime | None = None,
    ) -> str:
        """Starts a DAG run; one with this id may exist already."""
        moment = logical_date.astimezone(UTC) if logical_date is not None else None
        name = run_id or f"manual__{(moment or datetime.now(UTC)).isoformat()}"
        start_dag_run(pipeline, name, dict(parameters), moment)
        return name

    def state(self, pipeline: str, run_id: str) -> str:
        """The state of a run; empty if the run does not exist."""
        if not run_states().get_dr_count(dag_id=pipeline, run_ids=[run_id]):
            return ""
        return _RUN_STATES.get(str(run_states().get_dagrun_state(pipeline, run_id)), "Failed")

    def at(self, pipeline: str, dates: Sequence[datetime]) -> Mapping[datetime, str]:
        """The state of the run for each logical date that has one."""
        ti, found = run_states(), {}
        for date in dates:
            for state, name in (("success", "Succeeded"), ("failed", "Failed"), ("", "Executing")):
                given = {"states": [state]} if state else {}
                if ti.get_dr_count(dag_id=pipeline, logical_dates=[date], **given):
                    found[date] = name
                    break
        return found

    def step_states(
        self, pipeline: str, dates: Sequence[datetime], steps: Sequence[str]
    ) -> Mapping[datetime, Mapping[str, str]]:
        """The states of tasks in the run for each logical date that has one."""
        found = {}
        for date in self.at(pipeline, dates):
            runs = run_states().get_task_states(
                dag_id=pipeline, logical_dates=[date], task_ids=list(steps)
            )
            found[date] = {
                task: _TASK_STATES.get(str(state), "Executing")
                for states in runs.values()
                for task, state in states.items()
                if state is not None
            }
        return found


def start_dag_run(
    dag_id: str, run_id: str, conf: dict[str, Any], logical_date: datetime | None = None
) -> bool:
    """Starts a run as TriggerDagRunOperator does; False if there is one with this id.

    A task can raise DagRunTriggerException only once. See _handle_trigger_dag_run in
    airflow/sdk/execution_time/task_runner.py.
    """
    if IS_AIRFLOW_2:
        return bool(run_states().start(dag_id, run_id, conf, logical_date))
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    # Set when a task starts, so it cannot be imported by name.
    comms: Any = getattr(task_runner, "SUPERVISOR_COMMS")  # noqa: B009 - absent while type checking
    answer = comms.send(
        TriggerDagRun(dag_id=dag_id, run_id=run_id, logical_date=logical_date, conf=conf)
    )
    return not isinstance(answer, ErrorResponse)  # other errors are raised


def run_states(ti: Any = None) -> Any:
    """An object with the methods of Airflow2Runs; in Airflow 3 a task instance is one."""
    if IS_AIRFLOW_2:
        from sagebridge_operators.airflow.airflow2 import Airflow2Runs

        return Airflow2Runs
    if ti is not None:
        return ti
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return RuntimeTaskInstance
