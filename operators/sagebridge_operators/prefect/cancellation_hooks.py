"""The hook that Prefect calls, in another process, when a flow run is cancelled or crashes."""

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
from sagebridge_operators.prefect.flow_backends import backend_of, records_settings


def stop_jobs(flow: Any, flow_run: Any, state: Any) -> None:
    """Stops the jobs of a flow run that was cancelled or crashed, and records their ends.

    Set it on the flow: ``@flow(on_cancellation=[stop_jobs], on_crashed=[stop_jobs])``. If the flow
    run is retried afterwards, the stopped steps get new jobs.
    """
    ended = "crashed" if state is not None and state.is_crashed() else "was cancelled"
    with variables(_process_variables(flow_run)):
        _stop(execution_id("prefect", flow.name, str(flow_run.id)), f"the flow run {ended}")


def _process_variables(flow_run: Any) -> dict[str, str]:
    """The SAGEBRIDGE_* variables of the flow run's own process.

    They come from the job variables of the flow run and its deployment. The runner calls the hook
    without them (HookRunner in prefect/runner/_hook_runner.py, Prefect 3.7 to 3.9).
    """
    found = dict((flow_run.job_variables or {}).get("env") or {})
    if flow_run.deployment_id is not None:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            deployment = client.read_deployment(flow_run.deployment_id)
            found = {**(deployment.job_variables.get("env") or {}), **found}
    return {name: str(value) for name, value in found.items() if name.startswith("SAGEBRIDGE_")}


def _stop(execution: str, reason: str) -> None:
    records = open_records(backend_of(records_settings()))
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
