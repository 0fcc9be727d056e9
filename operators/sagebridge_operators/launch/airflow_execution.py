"""One execution of a pipeline on a private Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.authoring.dag_pipeline import ITEMS, legal_id, task_ids
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import EMPTY
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.engine_execution import MAX_TASKS, EngineExecution
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.attempt import Attempt, now

_ENDED = ("success", "failed")


class AirflowExecution(EngineExecution):
    """An execution on Airflow. The constructor writes its first record, since it sets the ids."""

    engine = "airflow"

    def __init__(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any],
        workdir: Workdir,
        record: Mapping[str, Any] = EMPTY,
    ) -> None:
        super().__init__(pipeline, parameters, workdir, record)
        dag_id = legal_id(pipeline.name or "pipeline")[:200]
        run_id = self.run_name(dag_id)
        self.identify(dag_id, run_id)
        self.airflow = PrivateAirflow(
            workdir.home / "airflow",
            pipeline,
            dag_id=dag_id,
            run_id=run_id,
            execution=self.id,
            parallelism=min(MAX_TASKS, max(2, sum(1 for _ in walk(pipeline)))),
            variables={**workdir.variables(), "SAGEBRIDGE_EXECUTION": f"{run_id}={self.id}"},
        )
        workdir.check_writable()
        self.begin()

    @property
    def server(self) -> PrivateAirflow:
        return self.airflow

    @property
    def ui(self) -> str:
        return self.airflow.ui

    def trigger(self) -> None:
        self.airflow.trigger(self.parameters)

    def running(self) -> bool:
        airflow = self.airflow
        state = airflow.patiently(lambda: airflow.api.run_state(airflow.dag_id, airflow.run_id))
        return state not in _ENDED

    def end_run(self, reason: str) -> None:
        airflow = self.airflow
        airflow.patiently(
            lambda: airflow.api.fail_run(airflow.dag_id, airflow.run_id, reason), patience=5
        )

    def settle(self) -> str:
        """Record failed tasks whose step recorded no failure: their worker was lost.

        After too many lost workers Airflow fails the task, and its job still runs; stop it.
        """
        airflow, ending = self.airflow, self.ending
        tasks = airflow.patiently(
            lambda: airflow.api.task_instances(airflow.dag_id, airflow.run_id)
        )
        left = ending.running()
        lost = {(one.step, one.index) for one in left if ending.records.attended(one) is False}
        ids = task_ids(self.pipeline)
        steps = {ids[step.name]: step for step in walk(self.pipeline)}
        failed: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {
            (steps[name].name, (index,) if index >= 0 else ()): task
            for (name, index), task in tasks.items()
            if name in steps and task["state"] == "failed"
        }
        for name, step in ((name, step) for name, step in steps.items() if step.type == "ForEach"):
            # Its last task fails, too, if a step before it failed, and then it has not started.
            if (begun := tasks.get((f"{name}{ITEMS}", -1))) and begun["state"] == "upstream_failed":
                failed.pop((step.name, ()), None)

        def mark_failed(step: str, index: tuple[int, ...]) -> None:
            task = failed[step, index]
            started, ended = task["start_date"] or now(), task["end_date"] or now()
            reason = airflow.failure(task["task_id"], *index)
            type_ = steps[task["task_id"]].type
            ending.mark_failed(step, type_, reason, index=index, started=started, ended=ended)

        if not lost.isdisjoint(failed):
            ending.stop_jobs()
        for step_index in failed:
            if step_index in lost:
                mark_failed(*step_index)
        if left:
            ending.stop()
        recorded = {(one.step, one.index): one for one in ending.records.current(self.id)}
        for step_index in failed:
            if _unrecorded(recorded.get(step_index)):
                mark_failed(*step_index)
        return ""


def _unrecorded(attempt: Attempt | None) -> bool:
    return attempt is None or attempt.state not in ("Failed", "Stopped")
