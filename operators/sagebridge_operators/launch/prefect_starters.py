"""The schedules and automations of a deployment on a Prefect server.

Only those that sagebridge made are changed: their slugs and names begin with a mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.events import Automation, AutomationCore, DeploymentEventTrigger

from sagebridge.authoring.prefect_deployment import SLUG
from sagebridge_operators.launch.flow_deployment import Deployment


class Starters:
    """What starts a deployment: its schedules and the automations of its event triggers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._mark = f"{SLUG}{deployment.full_name}/"

    def changed(self, client: Any, id: UUID, schedules: Sequence[Any]) -> list[str]:
        """The words for what :meth:`apply` would change."""
        removed, added = self._schedules(schedules)
        words = {
            "schedules": removed or added,
            "event triggers": list(self._automations(client, id)),
        }
        return [word for word, differs in words.items() if differs]

    def apply(self, client: Any, id: UUID, schedules: Sequence[Any]) -> None:
        """Create, replace and delete what differs. A removed schedule has no more runs."""
        removed, added = self._schedules(schedules)
        for one in removed:
            client.delete_deployment_schedule(id, one.id)
        if added:
            client.create_deployment_schedules(id, added)
        for current, wanted in self._automations(client, id):
            if wanted is None:
                client.delete_automation(current.id)
            elif current is None:
                client.create_automation(wanted)
            else:
                client.update_automation(current.id, wanted)

    def _automations(self, client: Any, id: UUID) -> Iterator[tuple[Any, Any]]:
        """The automations that differ, as (on the server, wanted); None is one that is missing."""
        related = client.read_resource_related_automations(f"prefect.deployment.{id}")
        ours = {one.name: one for one in related if one.name.startswith(self._mark)}
        for entry in self.deployment.triggers:
            trigger = DeploymentEventTrigger.model_validate(entry)
            trigger.set_deployment_id(id)
            wanted = trigger.as_automation()
            current = ours.pop(wanted.name, None)
            if current is None or not _same(current, wanted):
                yield current, wanted
        yield from ((current, None) for current in ours.values())

    def _schedules(self, found: Sequence[Any]) -> tuple[list[Any], list[DeploymentScheduleCreate]]:
        """The schedules on the server that differ or are gone, and those to create."""
        ours = {one.slug: one for one in found if (one.slug or "").startswith(SLUG)}
        added = []
        for wanted in self._wanted(ours):
            current = ours.get(wanted.slug)
            if current is not None and _content(current) == _content(wanted):
                del ours[wanted.slug]
            else:
                added.append(wanted)
        return list(ours.values()), added

    def _wanted(self, ours: Any) -> Iterator[DeploymentScheduleCreate]:
        for entry in self.deployment.schedules:
            fields = dict(entry)
            more = {name: fields.pop(name) for name in ("slug", "active", "parameters")}
            current: Any = getattr(ours.get(more["slug"]), "schedule", None)
            if "interval" in fields and hasattr(current, "anchor_date"):
                # A rate without a start counts from when its schedule was created.
                fields.setdefault("anchor_date", current.anchor_date)
            yield DeploymentScheduleCreate.model_validate({"schedule": fields, **more})


def _content(schedule: Any) -> dict[str, Any]:
    names = {"schedule", "active", "parameters"}
    found: dict[str, Any] = schedule.model_dump(mode="json", include=names)
    return found


def _same(current: Automation, wanted: AutomationCore) -> bool:
    """Whether the server would store the same automation."""
    names = {"name", "description", "enabled", "trigger", "actions"}
    left, right = (one.model_dump(mode="json", include=names) for one in (current, wanted))
    for one in (left, right):
        one["trigger"].pop("id", None)
    return bool(left == right)
