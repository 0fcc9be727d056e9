"""The start of runs of ``dag.test``.

``dag.test`` replaces an earlier run of the same date, and the run's start date is its logical date
(DAG.test in airflow/sdk/definitions/dag.py). Two such runs therefore look the same, so this module
records their start itself. All tasks of ``dag.test`` run in one process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2


@dataclass(slots=True)
class _TestRun:
    """``tries`` contains the last try of each task and map index."""

    started: datetime
    tries: dict[tuple[str, int], int] = field(default_factory=dict)


_RUNS: dict[tuple[str, str], _TestRun] = {}


def is_dag_test(ti: Any) -> bool:
    """Whether a task runs in ``dag.test``.

    Airflow has no public flag for it. In ``dag.test``, tasks talk to their supervisor through
    InProcessSupervisorComms (airflow/sdk/execution_time/supervisor.py), which the task runner
    stores in SUPERVISOR_COMMS. In Airflow 2 they have no job of Airflow (_run_raw_task in
    airflow/models/taskinstance.py, called by DAG.test).
    """
    if IS_AIRFLOW_2:
        return ti.job_id is None
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"


def known_start(ti: Any) -> datetime | None:
    """When the current run of ``dag.test`` began; None if none of its steps has started."""
    run = _RUNS.get((ti.dag_id, ti.run_id))
    return run.started if run is not None else None


def test_start(ti: Any, *, resumes: bool) -> datetime:
    """When the current run of ``dag.test`` began.

    A repeated first try begins another run, unless it ``resumes`` after a deferral.
    """
    key, task = _keys(ti)
    run = _RUNS.get(key)
    if run is None or (ti.try_number <= run.tries.get(task, 0) and not resumes):
        run = _RUNS[key] = _TestRun(datetime.now(UTC))
    run.tries[task] = ti.try_number
    return run.started


def repeat_try(ti: Any) -> None:
    """Makes the current try of a task repeatable, since it is rescheduled."""
    key, task = _keys(ti)
    if key in _RUNS:
        _RUNS[key].tries.pop(task, None)


def _keys(ti: Any) -> tuple[tuple[str, str], tuple[str, int]]:
    """The keys of the run of a task, and of the task in it."""
    return (ti.dag_id, ti.run_id), (ti.task_id, getattr(ti, "map_index", -1))
