"""What Prefect calls when a flow run is cancelled, in a process that is not the flow's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from sagebridge_operators.backends import records_location, variables
from sagebridge_operators.lifecycle import stopping
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.records import ExecutionRecords, open_objects
from sagebridge_operators.prefect.flow_backends import backend_of

INTERRUPTED = "the flow run was interrupted"
"""All that a flow's own process knows of what ends it."""

_REASON = "the flow run was cancelled"


def stop_jobs(flow: Any, flow_run: Any, state: Any) -> None:
    """Stops the jobs of a cancelled flow run and records their ends: ``on_cancellation=[…]``."""
    del state
    with variables(_told(flow_run)):
        _stop(execution_id("prefect", flow.name, str(flow_run.id)))


def _told(flow_run: Any) -> dict[str, str]:
    """What the run's own process was told by job variables; Prefect 3.7 tells the hook nothing."""
    found = dict((flow_run.job_variables or {}).get("env") or {})
    if flow_run.deployment_id is not None:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            deployment = client.read_deployment(flow_run.deployment_id)
            found = {**(deployment.job_variables.get("env") or {}), **found}
    return {name: str(value) for name, value in found.items() if name.startswith("SAGEBRIDGE_")}


def _stop(execution: str) -> None:
    backend = backend_of({})
    records = ExecutionRecords(open_objects(records_location(), lambda: backend.client("s3")))
    begun = records.execution(execution)
    if begun is None:
        return
    parts = [_Part(records.objects, json.loads(one)) for one in _settings_of(begun)]
    for part in parts:
        stopping.bury(part, backend_of(part.settings), execution, _REASON, no_worker=True)
        stopping.stop(part, backend_of(part.settings), execution)
        stopping.settle(part, backend_of(part.settings), execution, "Stopped", _REASON)
    end = records.end(execution)
    if end is None or end["reason"] == INTERRUPTED:
        records.finish(execution, "Stopped", _REASON)


def _settings_of(begun: Mapping[str, Any]) -> list[str]:
    """The different settings of an execution's steps."""
    return sorted({json.dumps(one) for one in (begun.get("settings") or {}).values()})


@dataclass(frozen=True, slots=True)
class _Part(ExecutionRecords):
    """The records of an execution's steps that run with the same settings."""

    settings: dict[str, Any]

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        begun = self.execution(execution) or {}
        settings = begun.get("settings") or {}
        found = ExecutionRecords.steps(self, execution)
        return {name: one for name, one in found.items() if settings.get(name) == self.settings}
