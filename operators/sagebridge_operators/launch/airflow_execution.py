"""One execution of a pipeline on a private Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.authoring.dag_pipeline import legal_id, task_ids
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.engine_execution import MOST_TASKS, EngineExecution
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.records import now
from sagebridge_operators.lifecycle.step_states import RUNNING

_ENDED = ("success", "failed")
_UNSUCCESSFUL = ("Failed", "Stopped")


class AirflowExecution(EngineExecution):
    """Making it writes the first record, since the names of DAG and run are ours to choose."""

    engine = "airflow"

    def __init__(self, pipeline: Pipeline, parameters: Mapping[str, Any], place: Workdir) -> None:
        super().__init__(pipeline, parameters, place)
        dag_id = legal_id(pipeline.name or "pipeline")[:200]
        run_id = self.run_name(dag_id)
        self.identify(dag_id, run_id)
        self.airflow = PrivateAirflow(
            place.home / "airflow",
            pipeline,
            dag_id=dag_id,
            run_id=run_id,
            execution=self.id,
            parallelism=min(MOST_TASKS, max(2, sum(1 for _ in walk(pipeline)))),
            variables=place.variables(),
        )
        place.check_writable()
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
        """Airflow calls a task failed whose step recorded no failure: its worker was lost.

        A worker that was lost too often has left its job, which nobody else would stop.
        """
        airflow, records = self.airflow, self.place.records
        tasks = airflow.patiently(
            lambda: airflow.api.task_instances(airflow.dag_id, airflow.run_id)
        )
        recorded, ids = records.steps(self.id), task_ids(self.pipeline)
        failed = {
            step.name: (step.type, task)
            for step in walk(self.pipeline)
            if (task := tasks.get(ids[step.name])) and task["state"] == "failed"
        }
        left = [name for name, record in recorded.items() if record["status"] in RUNNING]
        lost = [name for name in left if records.attended(self.id, name) is False]
        if left:
            stopping.stop(records, self.place.backend, self.id)
        for name, (type_, task) in failed.items():
            record = records.step_record(self.id, name) or {"name": name, "type": type_}
            if name in lost or record.get("status") not in _UNSUCCESSFUL:
                ended = {
                    "status": "Failed",
                    "reason": airflow.failure(task["task_id"]),
                    "ended": task["end_date"] or now(),
                }
                started = {"started": task["start_date"]}
                records.step(self.id, name, {**started, **record, **ended})
        return ""
