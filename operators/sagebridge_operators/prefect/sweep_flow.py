"""A flow that stops lost jobs. It asks Prefect which flow runs have ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.logging import get_run_logger

from sagebridge_operators.backends import open_records
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.sweep import LOST_FOR, WITHIN, Sweep
from sagebridge_operators.prefect.flow_backends import backend_of, records_settings
from sagebridge_operators.run_errors import JobsNotStopped


def stop_lost_jobs(
    lost_for: timedelta = LOST_FOR, within: timedelta = WITHIN, dry_run: bool = False
) -> list[dict[str, str]]:
    """Stops jobs that no flow run handles any more.

    ``lost_for`` is how long a step may have no worker while its flow run has not ended; executions
    older than ``within`` are not swept. Returns one object per lost step. Raises JobsNotStopped if
    the state of a job is unknown or a job did not stop within a minute.
    """
    log = get_run_logger()
    found = Sweep(
        open_records(backend_of(records_settings())),
        _backend_of_attempt,
        _watched,
        lost_for,
        within,
        dry_run,
    )
    swept = []
    for one in found.run():
        note = log.warning if one.left else log.info
        note("%s %s %s %s: %s", one.execution, one.step, one.job, one.state, one.why)
        swept.append(one)
    if left := [f"{one.job or one.execution}: {one.why}" for one in swept if one.left]:
        raise JobsNotStopped(left)
    return [asdict(one) for one in swept]


sweep = Flow(stop_lost_jobs, name="sagebridge-sweep")
"""The flow of :func:`stop_lost_jobs`; deploy it with a schedule."""


def _backend_of_attempt(body: Mapping[str, Any], attempt: Attempt) -> Any:
    return backend_of({**attempt.settings, "backend": body["backend"]})


def _watched(body: Mapping[str, Any], attempt: Attempt) -> bool | None:
    """False if the flow run has ended; None while it runs, since its process may have died."""
    if body.get("engine") != "prefect":
        return None
    run = str(body["run"]).rpartition("/")[2]
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run)).state
        except (ObjectNotFound, ValueError):  # deleted, or a run of another server
            return None
    return False if state is not None and state.is_final() else None
