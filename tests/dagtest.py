"""Runs DAGs in the test process and reads Airflow's database afterwards.

Airflow has one database per process, so each test uses its own DAG id.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import execution_of

if TYPE_CHECKING:
    from airflow.sdk import DAG

_count = itertools.count()


def new_id(name: str = "dag") -> str:
    """A DAG id that is unique in this session."""
    return f"{name}-{next(_count)}"


@cache
def migrated() -> Path:
    """Creates the metadata database on the first call; returns its file."""
    from airflow.utils.db import initdb

    initdb()
    return Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A DAG run that has ended."""

    dag: DAG
    run_id: str
    state: str
    records: ExecutionRecords

    @property
    def execution(self) -> str:
        return execution_of(self.records, f"{self.dag.dag_id}/{self.run_id}")

    @property
    def states(self) -> dict[str, str]:
        """The state of every task."""
        return dict(self._rows("select task_id, state from task_instance where {run}"))

    @property
    def indexes(self) -> dict[tuple[str, int], str]:
        """The state of every task by map index; -1 if it is not mapped."""
        query = "select task_id, map_index, state from task_instance where {run}"
        return {(task, index): state for task, index, state in self._rows(query)}

    @property
    def tries(self) -> dict[str, int]:
        return dict(self._rows("select task_id, try_number from task_instance where {run}"))

    @property
    def steps(self) -> dict[str, Attempt]:
        """One attempt for each step that has started."""
        return self.records.steps(self.execution)

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        query = "select value from xcom where {run} and task_id = ? and key = ?"
        ((found,),) = self._rows(query, task_id, key) or [(None,)]
        return json.loads(found) if found else None

    def everything(self) -> str:
        """All XComs and rendered fields of the run, as one string."""
        xcoms = self._rows("select key, value from xcom where {run}")
        return repr([*xcoms, *self._rendered()])

    def rendered(self, task_id: str) -> Any:
        """The fields of a task in the UI's rendered view."""
        return dict(self._rendered())[task_id]

    def _rendered(self) -> list[tuple[str, Any]]:
        query = "select task_id, rendered_fields from rendered_task_instance_fields where {run}"
        return [(task, json.loads(fields)) for task, fields in self._rows(query)]

    def _rows(self, query: str, *more: str) -> list[Any]:
        text = query.format(run="dag_id = ? and run_id = ?")
        return self.select(text, self.dag.dag_id, self.run_id, *more)

    @staticmethod
    def select(query: str, *values: str) -> list[Any]:
        """The rows of a query of the metadata database."""
        with closing(sqlite3.connect(migrated())) as database:
            return database.execute(query, values).fetchall()


def run_id(at: datetime) -> str:
    """The id of the run that ``play(at=at)`` creates."""
    return f"manual__{at.isoformat()}"


def play(
    dag: DAG, conf: Mapping[str, Any] | None = None, at: datetime | None = None
) -> FinishedRun:
    """Runs a DAG to its end, in this process."""
    from sagebridge_operators.airflow._compat import IS_AIRFLOW_2

    migrated()
    store(dag)
    before = signal.getsignal(signal.SIGTERM)
    try:
        if IS_AIRFLOW_2:
            when: dict[str, Any] = {"execution_date": at}
        else:
            when = {"logical_date": at, "run_after": at} if at else {}
        run = dag.test(run_conf=dict(conf) if conf is not None else None, **when)
    finally:
        signal.signal(signal.SIGTERM, before)
    records = ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))
    return FinishedRun(dag, run.run_id, str(run.state.value), records)


def store(dag: DAG) -> None:
    """Writes a DAG without a file into the database, as the DAG processor does."""
    from sagebridge_operators.airflow._compat import IS_AIRFLOW_2

    migrated()
    bags = dagbags()
    bag = bags.DagBag(dag_folder=os.devnull)
    dag.fileloc = __file__
    if IS_AIRFLOW_2:
        bag.bag_dag(dag, root_dag=dag)
        bag.sync_to_db()
        return
    dag.relative_fileloc = Path(__file__).name
    bag.bag_dag(dag)
    manager: Any = import_module("airflow.dag_processing.bundles.manager")
    manager.DagBundlesManager().sync_bundles_to_db()
    # A method of DagBag in Airflow 3.0.
    sync = getattr(bags, "sync_bag_to_db", None) or type(bag).sync_to_db
    sync(bag, "dags-folder", None)


def dagbags() -> Any:
    """The module of DagBag: airflow.models.dagbag before Airflow 3.2."""
    new = find_spec("airflow.dag_processing.dagbag")
    return import_module("airflow.dag_processing.dagbag" if new else "airflow.models.dagbag")
