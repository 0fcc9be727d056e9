"""The deployments that forward the messages of SQS queues to the automations of event triggers.

All deployments whose triggers have the same queue share one forwarder, since a message can be read
only once. Deploying replaces only the triggers of the deployment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.utilities.callables import parameter_schema

from sagebridge.authoring.prefect_deployment import EVENT
from sagebridge_operators.launch.flow_deployment import Deployment
from sagebridge_operators.prefect.event_forwarder import SECONDS, forward_events, forwarder

_ENTRYPOINT = "sagebridge_operators.prefect.event_forwarder.forwarder"
_SLUG = "sagebridge.events"


class Forwarders:
    """The forwarders of one deployment's event triggers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._mark = f"{EVENT}.{deployment.full_name}/"

    def changed(self, client: Any) -> list[str]:
        """The word for what :meth:`apply` would change."""
        return ["event forwarder"] if any(self._differing(client)) else []

    def apply(self, client: Any) -> None:
        """Create, update and delete forwarders, so that they have the deployment's triggers."""
        for found, name, parameters in self._differing(client):
            if found is None:
                created = client.create_deployment(
                    flow_id=client.create_flow_from_name(forwarder.name),
                    name=name,
                    schedules=[_schedule()],
                    parameters=parameters,
                    **self._body(),
                )
                # The first slot of its schedule is one interval later.
                client.create_flow_run_from_deployment(created)
            elif parameters["triggers"]:
                update = DeploymentUpdate(parameters=parameters, **self._body())
                client.update_deployment(found.id, update)
            else:
                client.delete_deployment(found.id)

    def _body(self) -> dict[str, Any]:
        return {
            "entrypoint": _ENTRYPOINT,
            "work_pool_name": self.deployment.work_pool,
            "job_variables": dict(self.deployment.job_variables),
            "parameter_openapi_schema": parameter_schema(forward_events).model_dump(
                exclude_unset=True
            ),
            "tags": ["sagebridge"],
        }

    def _differing(self, client: Any) -> Iterator[tuple[Any, str, dict[str, Any]]]:
        """Forwarders on the server, or None, that need other parameters; with their names."""
        flows = FlowFilter(name=FlowFilterName(any_=[forwarder.name]))
        found = {one.name: one for one in client.read_deployments(flow_filter=flows)}
        wanted: dict[str, dict[str, Any]] = {
            name: {**one.parameters, "triggers": self._others(one)} for name, one in found.items()
        }
        for queue, record in self.deployment.forwarded:
            name = re.sub(r"[^\w.-]+", "-", queue.partition("://")[2])
            new = wanted.setdefault(name, {"queue": queue, "triggers": []})
            new["triggers"].append(json.dumps(record, sort_keys=True))
        for name, parameters in wanted.items():
            parameters["triggers"].sort()
            if name not in found or found[name].parameters != parameters:
                yield found.get(name), name, parameters

    def _others(self, found: Any) -> list[str]:
        """The triggers of other deployments."""
        return [
            one
            for one in found.parameters["triggers"]
            if not str(json.loads(one)["resource"]).startswith(self._mark)
        ]


def _schedule() -> DeploymentScheduleCreate:
    every = IntervalSchedule.model_validate({"interval": SECONDS})
    return DeploymentScheduleCreate(schedule=every, active=True, slug=_SLUG)
