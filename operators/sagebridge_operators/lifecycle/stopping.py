"""Stops an execution: its jobs, and what its records say of them.

A step's worker stops its own job and records it as soon as it sees the request. Workers may be gone
or slow, so the jobs are asked directly as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import job_name
from sagebridge_operators.lifecycle.records import ExecutionRecords, now
from sagebridge_operators.lifecycle.step_states import RUNNING
from sagebridge_operators.lifecycle.user_code.code_step import CODE_TYPES
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
    asked: set[str] = set()
    began = time.monotonic()
    while True:
        bury(records, backend, execution, "a stop was asked for after its worker was lost")
        left = running(records, backend, execution)
        _ask(left, backend, asked)
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
    _ask(running(records, backend, execution), backend, set())


def _ask(left: Iterable[Mapping[str, Any]], backend: Backend, asked: set[str]) -> None:
    """Asks for the end of jobs that were not ``asked`` yet: of all, before a refusal is raised."""
    refused: list[Exception] = []
    for record in left:
        job = record.get("job")
        if job is None or job["name"] in asked:
            continue
        asked.add(job["name"])
        job_type = JOB_TYPES[record["type"]]
        try:
            job_type.request_stop(backend.client(job_type.service), job["name"])
        except Exception as error:  # noqa: BLE001 - raised below
            refused.append(error)
    if refused:
        raise refused[0]


def bury(
    records: ExecutionRecords,
    backend: Backend,
    execution: str,
    reason: str,
    *,
    no_worker: bool = False,
) -> None:
    """Brings the records of steps whose workers are lost up to date; one without a job is Stopped.

    Those are the steps that no worker is at, as far as that can be known, or all where there is
    ``no_worker``. None begins anew, since a stop was asked for or its engine is gone.
    """
    for step, record in records.steps(execution).items():
        if record["status"] not in RUNNING:
            continue
        if no_worker or records.attended(execution, step) is False:
            last = refreshed(record, backend, execution)
            if not last.get("job"):
                last |= {"status": "Stopped", "reason": reason, "ended": now()}
            if last != record:
                records.step(execution, step, last)


def running(records: ExecutionRecords, backend: Backend, execution: str) -> list[dict[str, Any]]:
    """The records of the steps that have not ended."""
    found = (refreshed(one, backend, execution) for one in records.steps(execution).values())
    return [record for record in found if record["status"] in RUNNING]


def refreshed(record: Mapping[str, Any], backend: Backend, execution: str) -> dict[str, Any]:
    """A step's record with its job and the state that it has by now, whatever became of its worker.

    A job that a worker made and could not record any more has the name that follows from its step.
    """
    job_type = JOB_TYPES.get(record["type"])
    if record["status"] not in RUNNING or job_type is None:
        return dict(record)
    generation, attempt = record.get("generation", 0), record.get("attempt", 0)
    made = job_name(execution, generation, record["name"], attempt, limit=job_type.name_limit)
    job = record.get("job") or {"name": made}
    description = job_type.find(backend.client(job_type.service), job["name"])
    if description is None:
        return dict(record)
    found = {**record, "job": {"arn": description.get(job_type.arn_key), **job}}
    if (state := job_type.state(description)) == "Executing":
        return found
    reason = {} if state == "Succeeded" else {"reason": job_type.reason(description)}
    return {**found, "status": state, "ended": record.get("ended") or now(), **reason}


def settle(
    records: ExecutionRecords, backend: Backend, execution: str, status: str, reason: str
) -> None:
    """Ends the records of steps whose workers are gone: as their jobs ended, else with ``status``.

    To be called only when no worker is left, since each record has one writer.
    """
    for step, record in records.steps(execution).items():
        if record["status"] in RUNNING:
            last = refreshed(record, backend, execution)
            if last["status"] in RUNNING:
                last |= {"status": status, "reason": reason, "ended": now()}
            records.step(execution, step, last)
