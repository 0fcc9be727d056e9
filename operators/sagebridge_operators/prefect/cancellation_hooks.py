"""What Prefect calls when a flow run is cancelled or crashes, in another process than its own."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from sagebridge_operators.backends import open_records, variables
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.prefect.flow_backends import backend_of


def stop_jobs(flow: Any, flow_run: Any, state: Any) -> None:
    """Stops the jobs of a flow run that was cancelled or has crashed, and records their ends.

    A flow has it as ``on_cancellation=[stop_jobs]`` and ``on_crashed=[stop_jobs]``. A flow run that
    is retried afterwards makes new jobs for the steps that were stopped.
    """
    ended = "has crashed" if state is not None and state.is_crashed() else "was cancelled"
    with variables(_told(flow_run)):
        _stop(execution_id("prefect", flow.name, str(flow_run.id)), f"the flow run {ended}")


def _told(flow_run: Any) -> dict[str, str]:
    """What the run's own process was told by job variables; Prefect 3.7 tells the hook nothing."""
    found = dict((flow_run.job_variables or {}).get("env") or {})
    if flow_run.deployment_id is not None:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            deployment = client.read_deployment(flow_run.deployment_id)
            found = {**(deployment.job_variables.get("env") or {}), **found}
    return {name: str(value) for name, value in found.items() if name.startswith("SAGEBRIDGE_")}


def _stop(execution: str, reason: str) -> None:
    backend = backend_of({})
    records = open_records(backend)
    begun = records.execution(execution)
    if begun is None:
        return
    settings = begun.get("settings") or {}

    @cache
    def backend_of_step(step: str) -> Backend:
        return backend_of(settings.get(step) or {})

    ending = Ending(records, execution, lambda attempt: backend_of_step(attempt.step))
    ending.mark_lost(reason, no_worker=True)
    ending.abort("Stopped", reason, workers=False, keep_stopped=True)
