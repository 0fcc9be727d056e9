"""Other flow runs on the same Prefect server, for steps that start them or wait for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from sagebridge.errors import UsageError

_TYPES = {
    "COMPLETED": "Succeeded",
    "FAILED": "Failed",
    "CRASHED": "Failed",
    "CANCELLED": "Stopped",
    "CANCELLING": "Executing",
    "RUNNING": "Executing",
}
_NAMES = {"Skipped": "Skipped", "NotRun": "NotRun"}
"""States of task runs that sagebridge names."""


class FlowRuns:
    """The flow runs of the server, as :class:`~.lifecycle.user_code.run_context.PipelineRuns`.

    Sync clients only: the code of a step may be async.
    """

    def start(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        run_id: str = "",
        logical_date: datetime | None = None,
    ) -> str:
        """Starts a run of a deployment, ``flow/name`` or the only one of a flow.

        Returns the id of the flow run. Raises UsageError if there is no such deployment.
        """
        state = None if logical_date is None else Scheduled(scheduled_time=_aware(logical_date))
        with get_client(sync_client=True) as client:
            run = client.create_flow_run_from_deployment(
                _deployment(client, pipeline),
                parameters=dict(parameters),
                name=run_id or None,
                idempotency_key=run_id or None,
                state=state,
            )
        return str(run.id)

    def state(self, pipeline: str, run_id: str) -> str:
        """Pending, Executing, Succeeded, Failed or Stopped; empty if there is no such run."""
        with get_client(sync_client=True) as client:
            try:
                run = client.read_flow_run(UUID(run_id))
            except ValueError:  # the name of a run
                return self._named(client, pipeline, run_id)
            except ObjectNotFound:
                return ""
        return _state(run.state)

    def _named(self, client: Any, pipeline: str, name: str) -> str:
        runs = client.read_flow_runs(
            flow_filter=_flow(pipeline), flow_run_filter=FlowRunFilter(name={"any_": [name]})
        )
        return _state(runs[0].state) if runs else ""

    def at(self, pipeline: str, dates: Sequence[datetime]) -> Mapping[datetime, str]:
        """The state of the flow run that was due at each date, if there is one."""
        with get_client(sync_client=True) as client:
            found = _due(client, pipeline, dates)
        return {date: _state(run.state) for date, run in found.items()}

    def step_states(
        self, pipeline: str, dates: Sequence[datetime], steps: Sequence[str]
    ) -> Mapping[datetime, Mapping[str, str]]:
        """The states of steps in the flow run that was due at each date, if there is one."""
        found: dict[datetime, dict[str, str]] = {}
        with get_client(sync_client=True) as client:
            for date, run in _due(client, pipeline, dates).items():
                tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
                found[date] = {one.name: _state(one.state) for one in tasks if one.name in steps}
        return found


def _deployment(client: Any, pipeline: str) -> UUID:
    if "/" in pipeline:
        try:
            named: UUID = client.read_deployment_by_name(pipeline).id
        except ObjectNotFound:
            raise UsageError(f"there is no deployment {pipeline!r} on the Prefect server") from None
        return named
    found = client.read_deployments(flow_filter=_flow(pipeline))
    same = [one for one in found if one.name == pipeline]
    if len(chosen := same or found) != 1:
        names = ", ".join(repr(f"{pipeline}/{one.name}") for one in found) or "none"
        raise UsageError(
            f"flow {pipeline!r} has no single deployment (found: {names}); deploy it, or name the "
            "deployment as 'flow/name'"
        )
    only: UUID = chosen[0].id
    return only


def _due(client: Any, pipeline: str, dates: Sequence[datetime]) -> dict[datetime, Any]:
    """The latest flow run that was due at each date."""
    found: dict[datetime, Any] = {}
    for date in dates:
        due = _aware(date)
        runs = client.read_flow_runs(
            flow_filter=_flow(pipeline),
            flow_run_filter=FlowRunFilter(
                expected_start_time={"after_": due, "before_": due + timedelta(microseconds=999)}
            ),
        )
        if runs:
            found[date] = max(runs, key=lambda run: run.created or due)
    return found


def _flow(pipeline: str) -> FlowFilter:
    return FlowFilter(name={"any_": [pipeline.partition("/")[0]]})


def _aware(date: datetime) -> datetime:
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _state(state: Any) -> str:
    if state is None:
        return "Pending"
    return _NAMES.get(state.name) or _TYPES.get(state.type.value, "Pending")
