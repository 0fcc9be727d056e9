"""One execution of a pipeline on a private Airflow, from its first record to its last."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sagebridge.errors import SagebridgeError, ServiceError
from sagebridge.formats.airflow.live import legal_id, task_ids
from sagebridge.formats.sagemaker.writer import definition
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge_operators.launch.airflow import PrivateAirflow
from sagebridge_operators.launch.place import Place
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.records import now
from sagebridge_operators.lifecycle.states import Status, status

_MOST_TASKS = 16
_ENDED = ("success", "failed")
_UNSUCCESSFUL = ("Failed", "Stopped")


class AirflowExecution:
    """Making it writes the first record; ``with`` starts Airflow and the run, and ends them.

    An exception that leaves the ``with`` stops the execution: its jobs, then Airflow. One that is a
    SagebridgeError makes it Failed, any other Stopped.

    Args:
        parameters: coerced, as the pipeline declares them.

    Raises:
        MissingExtra: Airflow is not installed.
        StoreError: records or objects cannot be written.
        ServiceError: Airflow does not start or refuses the run.
    """

    def __init__(self, pipeline: Pipeline, parameters: Mapping[str, Any], place: Place) -> None:
        self.pipeline, self.parameters, self.place = pipeline, parameters, place
        name = pipeline.name or "pipeline"
        started = datetime.now(UTC)
        dag_id = legal_id(name)[:200]
        run_id = f"{dag_id}-{started:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self.id = execution_id("airflow", dag_id, run_id)
        self.airflow = PrivateAirflow(
            place.home / "airflow",
            pipeline,
            dag_id=dag_id,
            run_id=run_id,
            execution=self.id,
            parallelism=min(_MOST_TASKS, max(2, sum(1 for _ in walk(pipeline)))),
            variables=place.variables(),
        )
        body = {
            "id": self.id,
            "pipeline": name,
            "engine": "airflow",
            "run": f"{dag_id}/{run_id}",
            **place.described(),
            "started": started.isoformat(),
            "parameters": dict(parameters),
        }
        place.check_writable()
        place.records.begin(self.id, body, lambda: definition(pipeline))

    def __enter__(self) -> Self:
        try:
            self.airflow.__enter__()
            self.airflow.trigger(self.parameters)
        except BaseException as error:
            self._stop(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.airflow.stop()
        else:
            self._stop(error)

    def running(self) -> bool:
        airflow = self.airflow
        state = airflow.patiently(lambda: airflow.api.run_state(airflow.dag_id, airflow.run_id))
        return state not in _ENDED

    def finish(self) -> Status:
        """Records how the run ended, and what no worker could record of its step."""
        records = self.place.records
        self._record_lost_steps()
        steps = records.steps(self.id)
        found = status(self.pipeline, steps)
        if found.status == "Executing":
            found = Status("Failed", "the run was ended in Airflow before its steps were")
        stopped = any(step["status"] == "Stopped" for step in steps.values())
        if found.status == "Failed" and stopped and records.stop_requested(self.id):
            found = Status("Stopped", "a stop was asked for")
        records.finish(self.id, found.status, found.reason)
        return found

    def _stop(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        end = "Failed" if isinstance(error, SagebridgeError) else "Stopped"
        place, airflow = self.place, self.airflow
        try:
            if airflow.running:
                stopping.stop(place.records, place.backend, self.id)
                with suppress(ServiceError):
                    airflow.patiently(
                        lambda: airflow.api.fail_run(airflow.dag_id, airflow.run_id, reason),
                        patience=5,
                    )
            else:
                stopping.stop_jobs(place.records, place.backend, self.id)
        finally:
            airflow.kill()
            try:
                # Until now a worker may have started one.
                stopping.stop_jobs(place.records, place.backend, self.id)
                stopping.settle(place.records, place.backend, self.id, end, reason)
            finally:
                place.records.finish(self.id, end, reason)

    def _record_lost_steps(self) -> None:
        """Airflow calls a task failed whose step recorded no failure: its worker was lost."""
        airflow, records = self.airflow, self.place.records
        tasks = airflow.patiently(
            lambda: airflow.api.task_instances(airflow.dag_id, airflow.run_id)
        )
        recorded, ids = records.steps(self.id), task_ids(self.pipeline)
        for step in walk(self.pipeline):
            task = tasks.get(ids[step.name])
            record = recorded.get(step.name, {"name": step.name, "type": step.type})
            if task and task["state"] == "failed" and record.get("status") not in _UNSUCCESSFUL:
                ended = {
                    "status": "Failed",
                    "reason": airflow.failure(task["task_id"]),
                    "ended": task["end_date"] or now(),
                }
                started = {"started": task["start_date"]}
                records.step(self.id, step.name, {**started, **record, **ended})
