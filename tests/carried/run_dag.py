"""Runs a DAG of a file to its end: ``python -m tests.carried.run_dag`` in Airflow's environment.

The request on standard input has ``file``, ``name`` (of the DAG, if the file has several), ``date``
(the logical date), ``parameters`` and ``answers``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from tests.carried.runs import serve
from tests.carried.steps import plain, recorded_steps, records

_STATES = {
    "success": "succeeded",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "not run",
    "removed": "skipped",
}


def run(request: dict[str, Any]) -> dict[str, Any]:
    from tests.dagtest import dagbags, migrated, play

    migrated()
    bag = dagbags().DagBag(dag_folder=request["file"], bundle_path=None)
    if bag.import_errors:
        raise SystemExit(str(bag.import_errors))
    dags = [dag for dag in bag.dags.values() if request["name"] in (None, dag.dag_id)]
    # A DAG that only starts another one has one task.
    dag = max(dags, key=lambda one: len(one.tasks))
    # play() gives the DAG another file.
    dag.template_searchpath = [*(dag.template_searchpath or ()), dag.folder]
    for task in dag.tasks:
        shorten_delay(task)
    played = play(dag, request["parameters"], datetime.fromisoformat(request["date"]))
    tasks: dict[str, list[Any]] = defaultdict(list)
    results = {
        (task, index): value
        for task, index, value in played._rows(
            "select task_id, map_index, value from xcom where {run} and key = 'return_value'"
        )
    }
    for (task, index), state in sorted(played.indexes.items()):
        found = {"state": _STATES.get(state or "", f"{state}")}
        if (task, index) in results:
            found["result"] = _loads(results[task, index])
        tasks[task].append(found)
    return {
        "state": _STATES.get(played.state, played.state),
        "tasks": tasks,
        "steps": recorded_steps(),
        "run_ids": [played.run_id, *records().ids()],
    }


def shorten_delay(task: Any) -> None:
    """Retry at once."""
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs["retry_delay"] = timedelta()
    else:
        task.retry_delay, task.retry_exponential_backoff = timedelta(), False


def _loads(value: Any) -> Any:
    """A stored XCom, deserialized as Airflow does it for the next task."""
    import json

    from airflow.sdk.serde import deserialize

    return plain(deserialize(json.loads(value) if isinstance(value, str) else value))


if __name__ == "__main__":
    serve(run)
    os._exit(0)  # threads of Airflow may not end
