"""Losses of hand-written triggers: Prefect's events are not EventBridge's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown

_RUN = "prefect.flow-run."
_PIPELINE_ENDED = "add an event trigger with pipeline_ended() and the ARN of that pipeline"
_ANY = "add an event trigger with the EventBridge pattern of the event"


def trigger_loss(value: Any, text: str) -> Unsupported:
    """The loss of a trigger with the keys of ``prefect.yaml``; ``text`` is its source."""
    if not isinstance(value, Mapping):
        what = f"the trigger {text} is not known before the flow is deployed"
        return Unsupported("event-trigger", "dropped", what, _ANY)
    expected = value.get("expect")
    names = [str(one) for one in expected] if isinstance(expected, list) else []
    waits = (
        f"waits for {', '.join(names)}" if names else f"is of the type {shown(value.get('type'))}"
    )
    if str(value.get("posture", "")).lower() == "proactive":
        waits = f"fires if {', '.join(names) or 'an event'} does not happen in time"
    name = f" {shown(value['name'])}" if value.get("name") else ""
    what = f"the trigger{name} {waits}: Prefect's events do not reach EventBridge"
    of_runs = bool(names) and all(one.startswith(_RUN) for one in names)
    return Unsupported("event-trigger", "dropped", what, _PIPELINE_ENDED if of_runs else _ANY)
