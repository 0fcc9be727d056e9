"""Runs a DAG of a file to its end: ``python -m tests.carried.run_dag`` in Airflow's environment.

The request on standard input has ``file``, ``name`` (of the DAG, if the file has several), ``date``
(the logical date), ``parameters``, ``others`` and ``answers``.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

from sagebridge_operators.airflow.prefect_names.stores import secret
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
    date = datetime.fromisoformat(request["date"])
    with other_dags(request.get("others", ()), date) as started:
        played = play(dag, request["parameters"], date)
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
        "steps": recorded_steps(secret),
        "started": started(),
        "run_ids": [played.run_id, _flow_run_id(dag.dag_id, played.run_id), *records().ids()],
    }


@contextmanager
def other_dags(others: Sequence[Any], date: datetime) -> Iterator[Callable[[], list[Any]]]:
    """DAGs that exist; a scheduler lets the runs that are started succeed.

    Gives a function that returns the DAG and the ``conf`` of these runs.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    from tests.dagtest import migrated, play, store

    for name, task, hours in others:
        with DAG(name, schedule=None) as dag:
            EmptyOperator(task_id=task)
        if hours is None:
            store(dag)
        else:
            play(dag, at=date - timedelta(hours=hours))
    names = [name for name, _, hours in others if hours is None]
    where = f"dag_id in ({', '.join('?' * len(names))})"
    ended = Event()

    def ends() -> None:
        while not ended.wait(0.3):
            with closing(sqlite3.connect(migrated(), timeout=30)) as database, database:
                query = f"update dag_run set state = 'success' where state = 'queued' and {where}"
                database.execute(query, names)

    def started() -> list[Any]:
        with closing(sqlite3.connect(migrated())) as database:
            rows = database.execute(f"select dag_id, conf from dag_run where {where}", names)
            return sorted([name, json.loads(conf)] for name, conf in rows.fetchall())

    scheduler = Thread(target=ends, daemon=True)
    if names:
        with closing(sqlite3.connect(migrated())) as database, database:
            database.execute(f"delete from dag_run where {where}", names)
        scheduler.start()
    try:
        yield started
    finally:
        ended.set()


def _flow_run_id(dag: str, run: str) -> str:
    from sagebridge_operators.airflow.prefect_names.runtime import flow_run_id

    return flow_run_id(dag, run)


def shorten_delay(task: Any) -> None:
    """Retry at once."""
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs["retry_delay"] = timedelta()
    else:
        task.retry_delay, task.retry_exponential_backoff = timedelta(), False


def _loads(value: Any) -> Any:
    """A stored XCom, deserialized as Airflow does it for the next task."""
    from airflow.sdk.serde import deserialize

    return plain(deserialize(json.loads(value) if isinstance(value, str) else value))


if __name__ == "__main__":
    serve(run)
    os._exit(0)  # threads of Airflow may not end
