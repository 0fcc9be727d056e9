"""Deployments of a flow: their schedules, triggers and parameters become those of its pipeline.

A deployment is a call in the flow's file, an entry of a ``prefect.yaml`` or one on a server. Its
other options exist only in Prefect and are losses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

from sagebridge.authoring.prefect_deployment import SLUG, has_template
from sagebridge.formats.prefect.constructs import DEPLOYMENT_OPTIONS, option_losses
from sagebridge.formats.prefect.schedule_values import UnreadableSchedule, read_times
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.display import numbered, shown
from sagebridge.model.expressions import json_value
from sagebridge.model.losses import OWN_SCHEDULE, OWN_TRIGGER, Loss
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT

UNKNOWN = object()
"""The value of an option that is only known when Prefect deploys the flow."""
_LATE = "a schedule's latest missed slot runs; Prefect runs every slot that is late"


class Option(NamedTuple):
    """An option of a deployment. ``text`` is its source; ``value`` may be UNKNOWN."""

    name: str
    value: Any
    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment.

    Attributes:
        name: empty if it has none.
        flow: the name of the flow function; None if it is for every flow of a file.
        place: its file and line, for losses.
        schedules: one option per schedule. A value is a mapping with the keys of a schedule in
            ``prefect.yaml``.
        triggers: likewise, one option per trigger.
        options: the others.
    """

    name: str
    flow: str | None
    place: str
    schedules: tuple[Option, ...] = ()
    triggers: tuple[Option, ...] = ()
    options: tuple[Option, ...] = ()

    @property
    def title(self) -> str:
        return f"the deployment {shown(self.name)}" if self.name else "the deployment"

    def value(self, name: str) -> Any:
        """The value of an option; None if it is not set."""
        return next((one.value for one in self.options if one.name == name), None)


def with_deployments(reading: FileReading, deployments: Sequence[Deployment]) -> FileReading:
    """A flow with the schedules and triggers of its deployments, each with their parameters."""
    merge = _Merge(reading.pipeline, reading.arguments)
    for one in deployments:
        if one.flow in (None, reading.entry):
            others = replace(
                one,
                schedules=tuple(option for option in one.schedules if not own_name(option, "slug")),
                triggers=tuple(option for option in one.triggers if not own_name(option, "name")),
            )
            merge.add(others, given=one.value("parameters"))
    return _merged(reading, merge)


def as_deployed(reading: FileReading, deployment: Deployment) -> FileReading:
    """A flow as a deployment runs it: with its parameters as defaults."""
    merge = _Merge(reading.pipeline, reading.arguments)
    merge.set_defaults(deployment)
    given = deployment.value("parameters")
    merge.add(deployment, given=None if isinstance(given, Mapping) else given)
    return _merged(reading, merge)


def own_name(option: Option, key: str) -> str:
    """The name of a schedule or trigger that `sagebridge deploy` made, otherwise empty.

    The flow itself has it, unless it was removed there after the deployment was made.
    """
    given = option.value.get(key) if isinstance(option.value, Mapping) else None
    if not isinstance(given, str) or not given.startswith(SLUG):
        return ""
    return given.removeprefix(SLUG).rpartition("/")[2]


def _merged(reading: FileReading, merge: _Merge) -> FileReading:
    return replace(reading, pipeline=merge.pipeline, losses=(*reading.losses, *merge.losses))


@dataclass(slots=True)
class _Merge:
    """Adds deployments to a pipeline. ``arguments`` are those of the flow, one per parameter."""

    pipeline: Pipeline
    arguments: Sequence[str]
    losses: list[Loss] = field(default_factory=list)

    def add(self, deployment: Deployment, given: Any) -> None:
        """Add the schedules and triggers; ``given`` are parameters of all of them."""
        shared = given if isinstance(given, Mapping) else {}
        before = len(self.pipeline.schedules)
        stated = any(own_name(one, "slug") for one in deployment.schedules)
        for one in deployment.schedules:
            self._schedule(deployment, one, shared)
        for one in deployment.triggers:
            self._trigger(deployment, one)
        self._lose_rest(
            deployment, carried=stated or len(self.pipeline.schedules) > before, given=given
        )

    def _schedule(self, deployment: Deployment, option: Option, shared: Mapping[str, Any]) -> None:
        """Add the schedule of an option, unless the flow has it already or it is a loss."""
        if not isinstance(option.value, Mapping):
            what = f"the schedule {option.text} is not known before the flow is deployed"
            self._lose(option.place, [_dropped(what)], deployment)
            return
        own, paused = own_name(option, "slug"), deployment.value("paused") is True
        slug = own or option.value.get("slug")
        enabled = option.value.get("active") is not False and not paused
        every = self.pipeline.schedules
        if own in {one.name for one in every}:
            self.pipeline = replace(self.pipeline, schedules=_switched(every, own, enabled))
            return
        try:
            times, losses = read_times(option.value)
        except UnreadableSchedule as why:
            what = f"the schedule {option.text} is not carried over: {why}"
            self._lose(option.place, [_dropped(what)], deployment)
            return
        name = self._free_name(deployment, slug)
        given = option.value.get("parameters") or {}
        if not isinstance(given, Mapping):
            what = f"the parameters {shown(given)} of a schedule are not carried over"
            self._lose(option.place, [Unsupported("schedule", "changed", what)], deployment)
            given = {}
        parameters = dict(self._parameters(option, deployment, {**shared, **given}))
        self._lose(option.place, losses, deployment, f"schedule {name!r}: ")
        schedule = Schedule(
            name,
            times.expression,
            timezone=times.timezone,
            start=times.start,
            end=times.end,
            enabled=enabled,
            parameters=parameters,
        )
        self.pipeline = replace(self.pipeline, schedules=(*self.pipeline.schedules, schedule))

    def _trigger(self, deployment: Deployment, option: Option) -> None:
        """Switch a trigger that the flow has; any other one is a loss."""
        own, every = own_name(option, "name"), self.pipeline.event_triggers
        if own in {one.name for one in every}:
            enabled = option.value.get("enabled") is not False
            self.pipeline = replace(self.pipeline, event_triggers=_switched(every, own, enabled))
            return
        self._lose(option.place, [_trigger_loss(option.value, option.text)], deployment)

    def _free_name(self, deployment: Deployment, slug: Any) -> str:
        """The slug or the name of the deployment, in characters that EventBridge allows."""
        stem = deployment.name or self.pipeline.name or "schedule"
        first = [slug, f"{stem}-{slug}"] if isinstance(slug, str) and slug else [stem]
        taken = {one.name for one in self.pipeline.starters}
        names = (
            re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[-64:]
            for name in chain(first, numbered(first[-1], separator="-"))
        )
        return next(name for name in names if name not in taken)

    def _parameters(
        self, option: Option, deployment: Deployment, values: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Values by the names of the pipeline's parameters."""
        for argument, value in values.items():
            parameter = self._declared.get(argument)
            what = f"parameters: {argument}={shown(value)}"
            if parameter is None:
                lost = f"{what}: the pipeline has no such parameter"
            elif (given := _as_json(parameter, value)) is UNKNOWN:
                lost = f"{what} is not a value of {parameter.value_type}: the default is used"
            elif has_template(given):
                lost = f"{what} is a template: the default is used"
            else:
                yield parameter.name, given
                continue
            advice = "set the value in the translated schedule"
            self._lose(option.place, [Unsupported("schedule", "changed", lost, advice)], deployment)

    @property
    def _declared(self) -> dict[str, Parameter]:
        """The parameters by the flow's arguments."""
        return dict(zip(self.arguments, self.pipeline.declared, strict=False))

    def set_defaults(self, deployment: Deployment) -> None:
        """Make the parameters of a deployment the defaults of the pipeline."""
        option = next((one for one in deployment.options if one.name == "parameters"), None)
        if option is None or not isinstance(option.value, Mapping):
            return
        values = dict(self._parameters(option, deployment, option.value))
        parameters = tuple(
            replace(one, default=values[one.name]) if one.name in values else one
            for one in self.pipeline.declared
        )
        if values:
            self.pipeline = replace(self.pipeline, parameters=parameters)

    def _lose_rest(self, deployment: Deployment, *, carried: bool, given: Any) -> None:
        """The losses of a deployment's other options; those that only Prefect has are one loss."""
        only_prefect = []
        for option in deployment.options:
            is_read = given is None or (carried and isinstance(given, Mapping))
            if option.name == "parameters" and is_read:
                continue
            if option.name == "concurrency_limit" and self._limits_runs(option.value):
                continue
            for lost in option_losses(DEPLOYMENT_OPTIONS, [(option.name, option.text)]):
                if lost.severity == "info":
                    only_prefect.append(f"{option.name}={option.text}")
                else:
                    self._lose(option.place, [lost], deployment)
        rest = f" ({', '.join(only_prefect)})" if only_prefect else ""
        what = f"{deployment.title} is not carried over{rest}"
        if carried:
            what = f"{deployment.title}: only its schedules are carried over{rest}; {_LATE}"
        advice = "deploy the translated pipeline itself"
        self._lose(deployment.place, [Unsupported("deployment", "info", what, advice)])

    def _limits_runs(self, given: Any) -> bool:
        """Limit the runs of the pipeline, unless another deployment has another limit."""
        queued = (
            isinstance(given, Mapping) and given.get("collision_strategy", "ENQUEUE") == "ENQUEUE"
        )
        limit, engine = given.get("limit") if queued else given, self.pipeline.engine
        if type(limit) is not int or engine.concurrency not in (ABSENT, limit):
            return False
        self.pipeline = replace(self.pipeline, engine=replace(engine, concurrency=limit))
        return True

    def _lose(
        self,
        place: str,
        losses: Iterable[Unsupported],
        deployment: Deployment | None = None,
        prefix: str = "",
    ) -> None:
        title = f"{deployment.title}: " if deployment is not None else ""
        self.losses += (lost.at(place, f"{title}{prefix}") for lost in losses)


def _as_json(parameter: Parameter, value: Any) -> Any:
    """A value as JSON; UNKNOWN if the parameter cannot have it. YAML and Python have dates."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, date | time):
        value = value.isoformat()
    elif isinstance(value, PurePath | Decimal | UUID):
        value = str(value)
    try:
        found = json_value(value)
        if not isinstance(found, str | int | float):  # the rules of schedules check these
            coerce_one(parameter, found)
    except (TypeError, ParameterValueError):
        return UNKNOWN
    return found


def _switched(starters: Iterable[Any], name: str, enabled: bool) -> tuple[Any, ...]:
    return tuple(replace(one, enabled=enabled) if one.name == name else one for one in starters)


def _dropped(what: str) -> Unsupported:
    return Unsupported("schedule", "dropped", what, OWN_SCHEDULE)


def _trigger_loss(value: Any, text: str) -> Unsupported:
    """The loss of a trigger with the keys of ``prefect.yaml``; ``text`` is its source."""
    if not isinstance(value, Mapping):
        what = f"the trigger {text} is not known before the flow is deployed"
        return Unsupported("event-trigger", "dropped", what, OWN_TRIGGER)
    expected = value.get("expect")
    names = [str(one) for one in expected] if isinstance(expected, list) else []
    waits = (
        f"waits for {', '.join(names)}" if names else f"is of the type {shown(value.get('type'))}"
    )
    if str(value.get("posture", "")).lower() == "proactive":
        waits = f"fires if {', '.join(names) or 'an event'} does not happen in time"
    name = f" {shown(value['name'])}" if value.get("name") else ""
    what = f"the trigger{name} {waits}: only Prefect has this event"
    return Unsupported("event-trigger", "dropped", what, OWN_TRIGGER)
