"""A task that stops lost jobs. It asks Airflow which tasks have ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sagebridge.model.display import word_set
from sagebridge_operators.airflow._compat import BaseOperator, Context

if TYPE_CHECKING:
    from sagebridge_operators.lifecycle.attempt import Attempt
    from sagebridge_operators.lifecycle.sweep import Watched

_ENDED = frozenset(("failed", "removed", "skipped", "success", "upstream_failed"))
_LIVE = word_set("deferred queued restarting running scheduled up_for_reschedule up_for_retry")


class SweepOperator(BaseOperator):
    """Stops jobs that no task handles any more, of all DAGs of this Airflow.

    Airflow calls no hook of a task that is marked failed or successful while it is deferred and no
    triggerer runs, and none after a machine or a scheduler died. Run this operator in a
    separate DAG with a schedule. It uses the AWS connections of the tasks whose jobs it stops.

    Args:
        lost_for: how long a step may have no worker, if Airflow does not know its task.
        within: executions that started earlier are not swept.
        dry_run: only log what would be stopped.

    Returns one object per lost step: ``execution``, ``step``, ``job``, ``state`` and ``why``. Fails
    if the state of a job is unknown or a job did not stop within a minute.
    """

    def __init__(
        self,
        *,
        lost_for: timedelta = timedelta(minutes=30),
        within: timedelta = timedelta(days=35),
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lost_for = lost_for
        self.within = within
        self.only_list = dry_run  # dry_run is a method of BaseOperator

    def execute(self, context: Context) -> list[dict[str, str]]:
        # Imported here: Airflow parses DAG files far more often than it runs their tasks.
        from dataclasses import asdict

        from sagebridge_operators.airflow import aws_clients, task_log
        from sagebridge_operators.backends import open_records
        from sagebridge_operators.lifecycle.sweep import Sweep

        sweep = Sweep(
            open_records(aws_clients.records_backend()),
            lambda body, attempt: aws_clients.backend_of_attempt(str(body["backend"]), attempt),
            watched_by(context["ti"]),
            self.lost_for,
            self.within,
            self.only_list,
        )
        swept = []
        for one in sweep.run():
            log = self.log.warning if one.left else self.log.info
            log("%s %s %s %s: %s", one.execution, one.step, one.job, one.state, one.why)
            swept.append(one)
        if left := [one.job or one.execution for one in swept if one.left]:
            raise task_log.failure(f"not stopped or unknown: {', '.join(left)}; see the log above")
        return [asdict(one) for one in swept]


def watched_by(ti: Any) -> Watched:
    """What this Airflow knows about the task of an attempt.

    Nothing if the run is not in its database: records may be shared with another Airflow, even one
    with the same DAG and run ids. The first start of the run distinguishes the two.
    """
    from sagebridge_operators.airflow.dag_runs import run_states

    source = run_states(ti)

    @cache
    def states(dag_id: str, run_id: str) -> Mapping[str, Any]:
        found = source.get_task_states(dag_id=dag_id, run_ids=[run_id])
        return dict(found.get(run_id) or {})

    def watched(body: Mapping[str, Any], attempt: Attempt) -> bool | None:
        from sagebridge_operators.airflow.task_runtime import STARTED

        task_id = attempt.settings.get("task_id")
        if body.get("engine") != "airflow" or task_id is None:
            return None
        dag_id, _, run_id = str(body["run"]).partition("/")
        where = {"dag_id": dag_id, "run_id": run_id, "task_ids": task_id}
        index = attempt.index[0] if attempt.index else None
        start = source.xcom_pull(**where, key=STARTED, map_indexes=-1 if index is None else index)
        if not isinstance(start, str) or _time(start) != _time(str(body["started"])):
            return None
        name = task_id if index is None else f"{task_id}_{index}"
        state = str(states(dag_id, run_id).get(name))
        return True if state in _LIVE else False if state in _ENDED else None

    return watched


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
