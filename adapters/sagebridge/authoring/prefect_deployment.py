"""Schedules and event triggers as parts of a Prefect deployment.

A schedule is a schedule of the deployment, marked by its slug. For an event trigger, a forwarder
flow reads the SQS queue. For each event that matches the trigger, it emits a Prefect event named
:data:`EVENT`, whose resource is that of the trigger, with the payload
``{"parameters": {ARGUMENT: VALUE}}``. An automation starts the deployment with these parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.authoring.definition_writer import write_parameter
from sagebridge.authoring.prefect_schedules import prefect_schedule
from sagebridge.errors import ParameterError
from sagebridge.model.display import shown
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.parameters import coerce
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import ExpressionError
from sagebridge.model.values import ABSENT, Value, thaw

SLUG = "sagebridge."
"""Begins the slugs of our schedules. Other schedules of a deployment are not ours."""
EVENT = "sagebridge.event-trigger"


def schedule_entries(pipeline: Pipeline, arguments: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The schedules of a deployment, by the keys of ``prefect.yaml``.

    ``arguments`` are the flow's arguments by parameter. Schedules that Prefect cannot have are
    missing. Raises ParameterError for values that a run would reject.
    """
    for schedule in pipeline.schedules:
        try:
            fields = prefect_schedule(schedule).fields
        except ExpressionError:
            continue
        given = _values(pipeline, f"schedule {shown(schedule.name)}", schedule.parameters)
        if fields:
            yield {
                **fields,
                "slug": f"{SLUG}{schedule.name}",
                "active": schedule.enabled,
                "parameters": {arguments[name]: value for name, value in given.items()},
            }


def _values(pipeline: Pipeline, what: str, given: Mapping[str, Value]) -> dict[str, Any]:
    """The given values in the declared types; parameters without a value are errors."""
    try:
        found = coerce(pipeline.declared, given)
    except ParameterError as error:
        raise ParameterError([f"{what}: {problem}" for problem in error.problems]) from None
    return {name: thaw(value) for name, value in found.items() if name in given}


def forwarded_triggers(pipeline: Pipeline) -> Iterator[EventTrigger]:
    """The event triggers that have a queue."""
    return (one for one in pipeline.event_triggers if one.queue is not ABSENT)


def trigger_resource(deployment: str, trigger: EventTrigger) -> str:
    """The Prefect resource of a trigger; ``deployment`` is ``FLOW/DEPLOYMENT``."""
    return f"{EVENT}.{deployment}/{trigger.name}"


def trigger_record(
    pipeline: Pipeline, arguments: Mapping[str, str], deployment: str, trigger: EventTrigger
) -> dict[str, Any]:
    """What the forwarder needs of a trigger, as JSON.

    ``arguments`` are the flow's arguments by parameter, ``declared`` the parameters by AWS's names.
    """
    return {
        "resource": trigger_resource(deployment, trigger),
        "name": trigger.name,
        "pattern": thaw(trigger.pattern),
        "parameters": thaw(trigger.parameters),
        "arguments": dict(arguments),
        "declared": [write_parameter(one) for one in pipeline.declared],
    }


def automation_trigger(deployment: str, trigger: EventTrigger) -> dict[str, Any]:
    """The trigger of an automation, by the keys of Prefect's API: one run per event."""
    return {
        "type": "event",
        "posture": "Reactive",
        "expect": [EVENT],
        "match": {"prefect.resource.id": trigger_resource(deployment, trigger)},
        "threshold": 1,
        "within": 0,
    }


def automation_parameters(
    pipeline: Pipeline, arguments: Mapping[str, str], trigger: EventTrigger
) -> dict[str, Any]:
    """The parameters of the run: values of the event's payload, never templates of a definition."""
    declared = {one.name for one in pipeline.declared}
    return {
        arguments[name]: {
            "__prefect_kind": "json",
            "value": {
                "__prefect_kind": "jinja",
                "template": f"{{{{ event.payload.parameters[{arguments[name]!r}] | tojson }}}}",
            },
        }
        for name in trigger.parameters
        if name in declared
    }
