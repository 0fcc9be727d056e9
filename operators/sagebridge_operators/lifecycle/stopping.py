"""Stops an execution: its jobs, and what its records say of them.

A step's worker stops its own job and records it as soon as it sees the request. Workers may be gone
or slow, so the jobs are asked directly as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.code import CODE_TYPES
from sagebridge_operators.lifecycle.execution import job_name
from sagebridge_operators.lifecycle.records import ExecutionRecords, now
from sagebridge_operators.lifecycle.states import RUNNING
from sagebridge_operators.steps import JOB_TYPES

PATIENCE = 60.0
"""Seconds in which jobs are expected to have stopped; local ones are killed after 30."""

_WORKER_ANSWERS = 15.0
_PAUSE = 0.3


def stop(
    records: ExecutionRecords,
    backend: Backend,
    execution: str,
    patience: float = PATIENCE,
    *,
    code: bool = False,
) -> list[str]:
    """Asks for the end of an execution and waits for it; the steps that have not ended by then.

    ``code`` that runs in a worker is waited for as jobs are: for who does not end the workers.
    """
    records.request_stop(execution)
    stop_jobs(records, backend, execution)
    began = time.monotonic()
    while True:
        left = running(records, backend, execution)
        known = [
            one["name"] for one in left if one.get("job") or (code and one["type"] in CODE_TYPES)
        ]
        waited = time.monotonic() - began
        # Any other step is about to make a job, or its worker is gone.
        if waited > patience or not (left if waited < _WORKER_ANSWERS else known):
            return known
        time.sleep(_PAUSE)


def stop_jobs(records: ExecutionRecords, backend: Backend, execution: str) -> None:
    """Asks the service to stop every job of an execution that still runs."""
    for record in records.steps(execution).values():
        if record["status"] in RUNNING and (job := record.get("job")):
            job_type = JOB_TYPES[record["type"]]
            job_type.request_stop(backend.client(job_type.service), job["name"])


def adopt(records: ExecutionRecords, backend: Backend, execution: str, reason: str) -> None:
    """Records the jobs of workers that were killed before they did; a step without one is Stopped.

    A job's name follows from its step. To be called only when no worker is left.
    """
    for step, record in records.steps(execution).items():
        if record["status"] not in RUNNING or record.get("job"):
            continue
        job_type = JOB_TYPES.get(record["type"])
        found = None
        if job_type is not None:
            client = backend.client(job_type.service)
            generation, attempt = record.get("generation", 0), record.get("attempt", 0)
            name = job_name(execution, generation, step, attempt, limit=job_type.name_limit)
            found = job_type.find(client, name)
        if job_type is None or found is None:
            end = {"status": "Stopped", "reason": reason, "ended": now()}
            records.step(execution, step, {**record, **end})
        else:
            job = {"name": name, "arn": found.get(job_type.arn_key)}
            records.step(execution, step, {**record, "job": job})


def running(records: ExecutionRecords, backend: Backend, execution: str) -> list[dict[str, Any]]:
    """The records of the steps that have not ended."""
    found = (refreshed(record, backend) for record in records.steps(execution).values())
    return [record for record in found if record["status"] in RUNNING]


def refreshed(record: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """A step's record with the state that its job has by now, whatever became of its worker."""
    job = record.get("job")
    if record["status"] not in RUNNING or not job:
        return dict(record)
    job_type = JOB_TYPES[record["type"]]
    description = job_type.find(backend.client(job_type.service), job["name"])
    if description is None or (state := job_type.state(description)) == "Executing":
        return dict(record)
    reason = {} if state == "Succeeded" else {"reason": job_type.reason(description)}
    return {**record, "status": state, "ended": record.get("ended") or now(), **reason}


def settle(
    records: ExecutionRecords, backend: Backend, execution: str, status: str, reason: str
) -> None:
    """Ends the records of steps whose workers are gone: as their jobs ended, else with ``status``.

    To be called only when no worker is left, since each record has one writer.
    """
    for step, record in records.steps(execution).items():
        if record["status"] in RUNNING:
            last = refreshed(record, backend)
            if last["status"] in RUNNING:
                last |= {"status": status, "reason": reason, "ended": now()}
            records.step(execution, step, last)
