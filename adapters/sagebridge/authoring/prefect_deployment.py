"""Schedules and event triggers as parts of a Prefect deployment.

A schedule is a schedule of the deployment, marked by its slug. For an event trigger, a forwarder
flow reads the SQS queue. For each event that matches the trigger, it emits a Prefect event named
:data:`EVENT`, whose resource is that of the trigger, with the payload
``{"parameters": {ARGUMENT: VALUE}}``. An automation starts the deployment with these parameters.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sagebridge.authoring.definition_writer import write_parameter
from sagebridge.authoring.pipeline_builder import legal_name
from sagebridge.authoring.prefect_schedules import FIRST, prefect_schedule
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.parameters import coerce_one
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import ABSENT, thaw

SLUG = "sagebridge."
"""The prefix of slugs that sagebridge writes; a deployment may have other schedules."""
EVENT = "sagebridge.event-trigger"


def deployment_name(pipeline: Pipeline) -> str:
    """The pipeline's name without characters that Prefect rejects or renders as a template."""
    return re.sub(r"[{}]", "_", legal_name(pipeline.name or "pipeline"))


def yaml_entry(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment for ``prefect.yaml``, without strings that Prefect renders as templates."""
    result = dict(fields)
    if not fields["description"] or "{{" in fields["description"]:
        del result["description"]
    result["tags"] = [tag for tag in fields["tags"] if "{{" not in tag]
    result["schedules"] = [one for one in fields["schedules"] if not has_template(one)]
    return result


def has_template(value: Any) -> bool:
    """Whether Prefect would render a string in ``prefect.yaml`` as a template."""
    if isinstance(value, Mapping):
        return any(map(has_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_template, value))
    return isinstance(value, str) and "{{" in value


def schedule_entries(
    pipeline: Pipeline, arguments: Mapping[str, str], now: datetime = FIRST
) -> Iterator[dict[str, Any]]:
    """The schedules of a deployment from ``now`` on, by the keys of ``prefect.yaml``.

    ``arguments`` are the flow's arguments by parameter. Schedules that Prefect cannot have are
    missing. The pipeline has no errors of :func:`~sagebridge.authoring.schedule_rules`.
    """
    declared = {one.name: one for one in pipeline.declared}
    for schedule in pipeline.schedules:
        if fields := prefect_schedule(schedule, now).fields:
            given = schedule.parameters.items()
            yield {
                **fields,
                "slug": f"{SLUG}{schedule.name}",
                "active": schedule.enabled,
                "parameters": {arguments[k]: coerce_one(declared[k], value) for k, value in given},
            }


def trigger_entries(
    pipeline: Pipeline, arguments: Mapping[str, str], deployment: str
) -> Iterator[dict[str, Any]]:
    """The automations of the event triggers with a queue, by the keys of ``prefect.yaml``.

    ``deployment`` is ``FLOW/DEPLOYMENT``. Values of the definition are never templates: they are in
    the payload of the event.
    """
    declared = {one.name for one in pipeline.declared}
    for trigger in forwarded_triggers(pipeline):
        names = [arguments[name] for name in trigger.parameters if name in declared]
        yield {
            "type": "event",
            "name": f"{SLUG}{deployment}/{trigger.name}",
            "enabled": trigger.enabled,
            "posture": "Reactive",
            "expect": [EVENT],
            "match": {"prefect.resource.id": glob.escape(trigger_resource(deployment, trigger))},
            "threshold": 1,
            "within": 0,
            "parameters": {name: _from_event(name) for name in names},
        }


def _from_event(argument: str) -> dict[str, Any]:
    template = f"{{{{ event.payload.parameters[{argument!r}] | tojson }}}}"
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}


def forwarded_triggers(pipeline: Pipeline) -> Iterator[EventTrigger]:
    """The event triggers that have a queue."""
    return (one for one in pipeline.event_triggers if one.queue is not ABSENT)


def trigger_resource(deployment: str, trigger: EventTrigger) -> str:
    """The Prefect resource of a trigger; ``deployment`` is ``FLOW/DEPLOYMENT``."""
    return f"{EVENT}.{deployment}/{trigger.name}"


def forwarded_records(
    pipeline: Pipeline, arguments: Mapping[str, str], deployment: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The queue and the record of each enabled trigger, for the forwarders of the queues."""
    for trigger in forwarded_triggers(pipeline):
        if trigger.enabled:
            yield str(trigger.queue), trigger_record(pipeline, arguments, deployment, trigger)


def trigger_record(
    pipeline: Pipeline, arguments: Mapping[str, str], deployment: str, trigger: EventTrigger
) -> dict[str, Any]:
    """The data of a trigger for its forwarder, as JSON.

    ``arguments`` are the flow's arguments by parameter, ``declared`` the parameters by AWS's names.
    """
    return {
        "resource": trigger_resource(deployment, trigger),
        "name": trigger.name,
        "pattern": thaw(trigger.pattern),
        "parameters": thaw(trigger.parameters),
        "arguments": dict(arguments),
        "declared": [write_parameter(one) for one in pipeline.declared],
        "limits": {one.name: thaw(one.limits) for one in pipeline.declared if one.limits},
        "nullable": [one.name for one in pipeline.declared if one.nullable],
    }
