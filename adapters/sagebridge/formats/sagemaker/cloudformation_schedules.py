"""The schedules, rules and pipes of a CloudFormation template that start its pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sagebridge.authoring.aws_arns import target_parts
from sagebridge.authoring.eventbridge_requests import (
    WrongRequest,
    read_pipe,
    read_rule,
    read_schedule,
)
from sagebridge.authoring.scheduled_pipeline import renamed, with_free_names
from sagebridge.formats.sagemaker.cloudformation_functions import Functions, function_name
from sagebridge.formats.sagemaker.eventbridge import (
    Starters,
    changed_messages,
    keeping_arn,
    queue_of,
    starters_of,
    with_queue,
    without_arn,
)
from sagebridge.formats.sagemaker.eventbridge_writer import Requests
from sagebridge.model.display import free_name, shown
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.losses import Loss, Severity
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import Schedule, in_utc
from sagebridge.model.values import ABSENT, Value
from sagebridge.model.visit import escape

SCHEDULE, RULE, PIPE = "AWS::Scheduler::Schedule", "AWS::Events::Rule", "AWS::Pipes::Pipe"
VARIABLE = re.compile(r"\$\{([A-Za-z0-9]+)\}")
_ROLE = "ScheduleRoleArn"
_MISSING: Mapping[str, tuple[str, ...]] = {
    SCHEDULE: ("ActionAfterCompletion", "ClientToken"),
    RULE: (),
    PIPE: (),
}
"""The keys of requests that a resource does not have."""
_USED = ("State", "DesiredState", "ScheduleExpression", "ScheduleExpressionTimezone")
"""Properties that use the default of a template's parameter."""
_TIMES = ("StartDate", "EndDate")
_Target: TypeAlias = tuple[int, dict[str, Any]]
"""The position of a target in its rule, and its keys without the ARN."""


@dataclass(frozen=True, slots=True)
class TemplateStarters:
    """The schedules and triggers of a template's pipeline, and the ids of their resources."""

    schedules: tuple[Schedule, ...]
    event_triggers: tuple[EventTrigger, ...]
    resources: frozenset[str]
    losses: tuple[Loss, ...]
    variables: frozenset[str]


def read_schedules(
    template: Mapping[str, Any], pipeline: str, names: Collection[str], defaults: Mapping[str, Any]
) -> TemplateStarters:
    """The schedules, rules and pipes that start the pipeline with the logical id ``pipeline``.

    ``names`` are what its PipelineName may be, with functions as strings.
    """
    items: list[Starter] = []
    resources: set[str] = set()
    losses: list[Loss] = []
    variables: set[str] = set()
    for reader in _readers(template, defaults):
        for arn, own, target in reader.targets():
            if not _is_pipeline(arn, pipeline, names):
                continue
            resources.add(reader.resource)
            items += [keeping_arn(one, arn) for one in reader.read(own, target)]
        if reader.resource in resources:
            losses += reader.losses()
            variables |= reader.functions.variables | reader.defaulted
    return TemplateStarters(
        *with_free_names(items), frozenset(resources), tuple(losses), frozenset(variables)
    )


def read_alone(
    template: Mapping[str, Any], defaults: Mapping[str, Any], wanted: str = ""
) -> Starters:
    """The schedules, rules and pipes of a template without a pipeline.

    Raises :class:`~sagebridge.formats.sagemaker.eventbridge.NoSchedules`.
    """
    losses: list[Loss] = []

    def items() -> Iterator[tuple[str, Starter]]:
        for reader in _readers(template, defaults):
            found = [
                (arn, one)
                for arn, own, target in reader.targets()
                if target_parts(arn)
                for one in reader.read(own, target)
            ]
            losses.extend(reader.losses() if found else ())
            yield from found

    return starters_of(items(), losses, wanted)


def _readers(template: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[_ResourceReader]:
    for resource, raw in template["Resources"].items():
        match raw:
            case {"Type": str(type_), "Properties": dict()} if type_ in _MISSING:
                yield _ResourceReader(type_, resource, raw, defaults)


def _is_pipeline(arn: str, pipeline: str, names: Collection[str]) -> bool:
    if parts := target_parts(arn):
        return parts[1] == f"${{{pipeline}}}" or parts[1].casefold() in map(str.casefold, names)
    return re.fullmatch(rf"\$\{{{re.escape(pipeline)}(\.\w+)?\}}", arn) is not None


class _ResourceReader:
    """Reads one schedule, rule or pipe of a template."""

    def __init__(
        self, type_: str, resource: str, raw: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> None:
        self.type, self.resource, self.defaults = type_, resource, defaults
        self.raw, self.properties = raw, dict(raw["Properties"])
        self.pointer = f"/Resources/{escape(resource)}/Properties"
        self.functions = Functions(defaults)
        self.defaulted: set[str] = set()
        self._losses: list[Loss] = []

    def targets(self) -> Iterator[tuple[str, dict[str, Any], _Target]]:
        """The ARN of each target and the properties without it; of a rule, the target's others."""
        own = dict(self.properties)
        if self.type == PIPE:
            arn = own.pop("Target", None)
            yield self.text(arn), own, (0, {})
        elif self.type == SCHEDULE:
            arn, own["Target"] = without_arn(own.get("Target"))
            yield self.text(arn), own, (0, {})
        else:
            targets = own.pop("Targets", None)
            for position, raw in enumerate(targets if isinstance(targets, list) else ()):
                arn, target = without_arn(raw)
                yield self.text(arn), own, (position, target)

    def read(self, own: dict[str, Any], target: _Target) -> list[Starter]:
        """The schedules and triggers of a resource; an invalid resource is a loss."""
        own = {"Name": self.resource, **own}
        known = {k: self._default(own.pop(k), k) for k in _USED if function_name(own.get(k))}
        values = {**self.functions.value(own, self.pointer), **known}
        try:
            found = self._read(values, target)
        except WrongRequest as error:
            self._losses.append(self._loss("dropped", str(error)))
            return []
        return [renamed(one, self.resource) if "${" in one.name else one for one in found]

    def _read(self, values: dict[str, Any], target: _Target) -> Sequence[Starter]:
        if self.type == SCHEDULE:
            return [read_schedule(values)]
        if self.type == RULE:
            pointer = f"{self.pointer}/Targets/{target[0]}"
            found = read_rule(values, self.functions.value(target[1], pointer))
            return [with_queue(one, self._queue()) for one in found]
        pipe = read_pipe(values)
        self._losses += changed_messages(pipe, self.pointer)
        return [pipe]

    def _queue(self) -> str | None:
        """The queue among the targets of a rule, if the template has its ARN."""
        targets = map(without_arn, self.properties["Targets"])
        found = queue_of((self.text(arn), keys) for arn, keys in targets)
        return None if found is None or "${" in found else found

    def losses(self) -> list[Loss]:
        """What is not carried over, and the functions."""
        found = [*self._losses, *self.functions.losses()]
        if "Condition" in self.raw:
            condition = shown(self.raw["Condition"])
            what = f"it exists only under the condition {condition} of the template"
            found.append(self._loss("changed", what, "turn it on or off with --map FILE"))
        others = len(self.properties["Targets"]) - 1 if self.type == RULE else 0
        if number := others - (others > 0 and self._queue() is not None):
            what = f"other targets of the rule are not carried over: {number}"
            found.append(self._loss("info", what))
        return list(dict.fromkeys(found))

    def text(self, arn: Any) -> str:
        return str(Functions({}).value(arn, self.pointer))

    def _default(self, given: Any, key: str) -> Any:
        """The default of the template's parameter, with a loss; without one, the function."""
        text = self.text(given)
        self.defaulted.add(text)
        default = self.defaults.get(given.get("Ref", ""))
        found = default if isinstance(default, str) else text
        what = f"{key} {text} is set by CloudFormation; "
        if key.endswith("State"):
            what += f"its default {default} is used" if default else "it is off"
            fix = "turn it on or off with --map FILE"
        else:
            what += f"its default {default!r} is used" if default else "it is kept as a string"
            fix = f"set its value with --map '{found}=VALUE'"
        self._losses.append(self._loss("changed", what, fix))
        return found

    def _loss(self, severity: Severity, what: str, advice: str = "") -> Loss:
        return Loss("schedule", severity, self.pointer, what, "sagemaker", advice)


def reference(name: str, description: str, parameters: dict[str, Any]) -> dict[str, str]:
    """A reference to a parameter of a template, which is declared in ``parameters``."""
    parameters.setdefault(name, {"Type": "String", "Description": description})
    return {"Ref": name}


def write_schedules(
    pipeline: Pipeline, resource: str, name: str, parameters: dict[str, Any]
) -> tuple[dict[str, Any], list[Loss]]:
    """The resources for the schedules and triggers of a pipeline, and the losses.

    ``resource`` is its logical id, ``name`` its PipelineName. Adds to the template's
    ``parameters``.
    """
    of_stack = "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}"
    description = "The role with which EventBridge starts the pipeline"

    def role(given: Value) -> Value:
        match = VARIABLE.fullmatch(f"${{{_ROLE}}}" if given is ABSENT else str(given))
        return reference(match[1], description, parameters) if match else given

    arn = {"Fn::Sub": f"{of_stack}:pipeline/${{{resource}}}"}
    made = Requests.of(pipeline, name, arn=arn, role=role)
    losses = made.losses
    if _ROLE in parameters:
        what = "no role to start the pipeline, so the template has a parameter for it"
        fix = f"deploy with --parameter-overrides {_ROLE}=ARN"
        losses.append(Loss("role-missing", "info", "", what, "sagemaker", fix))
    for key in dict.fromkeys(k for one in made.schedules for k in one if k in _MISSING[SCHEDULE]):
        what = f"not part of a template: {key} of a schedule"
        losses.append(
            Loss("beside-definition", "dropped", "", what, "sagemaker", "use --as eventbridge")
        )
    rules = [{**_with_pattern(rule), "Targets": targets} for rule, targets in made.rules]
    resources: dict[str, Any] = {resource: None}
    for type_, found in ((SCHEDULE, made.schedules), (RULE, rules), (PIPE, made.pipes)):
        for request in found:
            stem = logical_id(re.sub(r"[^A-Za-z0-9]+", "-", request["Name"]))
            own = free_name(f"{stem}{type_.rpartition(':')[2]}", resources, separator="")
            own_keys = {k: v for k, v in request.items() if k not in _MISSING[type_]}
            properties = {k: _utc(v) if k in _TIMES else v for k, v in own_keys.items()}
            resources[own] = {"Type": type_, "Properties": properties}
    del resources[resource]
    return resources, losses


def _utc(given: Any) -> Any:
    """A time in UTC with ``Z``, as templates have it; any other value is unchanged."""
    try:
        time = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return given
    if time.tzinfo is None or given.endswith("Z"):
        return given
    return in_utc(time)


def _with_pattern(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule with its pattern as an object."""
    return {k: json.loads(v) if k == "EventPattern" else v for k, v in rule.items()}


def logical_id(name: str) -> str:
    """A name without its hyphens, each word with a capital letter."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))[:255]
