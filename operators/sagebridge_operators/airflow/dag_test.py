"""Runs of ``dag.test``, whose process chooses their start.

``dag.test`` deletes the run of the same date and makes it anew, and gives it its logical date as
its start date, so that two such runs look the same. All its tasks run in one process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(slots=True)
class _TestRun:
    """``tries`` holds the last try of each task and map index."""

    started: datetime
    tries: dict[tuple[str, int], int] = field(default_factory=dict)


_RUNS: dict[tuple[str, str], _TestRun] = {}


def is_dag_test() -> bool:
    """Whether this task runs in ``dag.test``.

    There is no public sign of it. Airflow's supervisor of ``dag.test`` talks to tasks through an
    ``InProcessSupervisorComms`` (airflow/sdk/execution_time/supervisor.py).
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"


def test_start(ti: Any) -> datetime:
    """When the present run of ``dag.test`` began: a task that starts over begins another run."""
    key, task = (ti.dag_id, ti.run_id), (ti.task_id, getattr(ti, "map_index", -1))
    run = _RUNS.get(key)
    if run is None or ti.try_number <= run.tries.get(task, 0):
        run = _RUNS[key] = _TestRun(datetime.now(UTC))
    run.tries[task] = ti.try_number
    return run.started
