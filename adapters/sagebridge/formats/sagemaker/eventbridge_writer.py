"""Write the schedules and event triggers of a pipeline as requests of EventBridge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagebridge.authoring.aws_arns import legal_name, queue_arn, target_parts
from sagebridge.authoring.eventbridge_requests import (
    composed,
    eventbridge_expression,
    is_pipe,
    is_rule,
    write_pipe,
    write_rule,
    write_schedule,
)
from sagebridge.authoring.json_document import dump
from sagebridge.model.display import free_name, shown
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.losses import Loss, Severity
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, EMPTY, Value, thaw

_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.{1,500}")
_PARAMETER = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
"""The parameter names that rules and pipes allow (botocore: SageMakerPipelineParameterName)."""
_FIX = "use --as cloudformation or --as eventbridge"


def write_document(
    pipeline: Pipeline, reading: Sequence[Loss] = ()
) -> tuple[str, tuple[Loss, ...]]:
    """A document of the requests that schedule a pipeline, by operation. It has no definition."""
    made = Requests.of(pipeline, legal_name(pipeline.name))
    rules = [rule for rule, _ in made.rules]
    targets = [
        {
            "Rule": rule["Name"],
            **{key: rule[key] for key in ("EventBusName",) if key in rule},
            "Targets": found,
        }
        for rule, found in made.rules
    ]
    lists = {
        "CreateSchedule": made.schedules,
        "PutRule": rules,
        "PutTargets": targets,
        "CreatePipe": made.pipes,
    }
    losses = made.losses
    if not pipeline.starters:
        what = "the pipeline has no schedules or event triggers, so the document is empty"
        losses = [*losses, _loss("info", what)]
    return dump({name: found for name, found in lists.items() if found}), tuple(losses)


def unscheduled(pipeline: Pipeline, document: str) -> Iterator[Loss]:
    """The losses of a document that has no place for schedules and event triggers."""
    for position, one in enumerate(pipeline.schedules):
        what = f"schedule {shown(one.name)} ({one.expression}) is not part of a {document}"
        yield _loss("dropped", what, _FIX, f"/Schedules/{position}")
    for position, trigger in enumerate(pipeline.event_triggers):
        what = f"event trigger {shown(trigger.name)} is not part of a {document}"
        yield _loss("dropped", what, _FIX, f"/EventTriggers/{position}")


def _loss(severity: Severity, what: str, advice: str = "", place: str = "") -> Loss:
    return Loss("schedule", severity, place, what, "sagemaker", advice)


@dataclass(slots=True)
class Requests:
    """The requests for the schedules and triggers of a pipeline, and what they cannot express.

    Attributes:
        arn: the target of all requests; by default, the ARN that each item was read with, in the
            account of the others.
        role: returns the role of a request, for the role that the item has or ABSENT.
        schedules, pipes: CreateSchedule and CreatePipe requests.
        rules: PutRule requests, each with the pipeline's entries in the rule's targets.
    """

    pipeline: Pipeline
    name: str
    arn: Any = None
    role: Callable[[Value], Any] = lambda given: given
    schedules: list[dict[str, Any]] = field(default_factory=list)
    rules: list[tuple[dict[str, Any], list[dict[str, Any]]]] = field(default_factory=list)
    pipes: list[dict[str, Any]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    _place: str = ""
    _taken: set[str] = field(default_factory=set)
    _without_role: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, pipeline: Pipeline, name: str, **options: Any) -> Requests:
        """The requests for a pipeline that is created with ``name``."""
        made = cls(pipeline, name, **options)
        for position, schedule in enumerate(pipeline.schedules):
            made._place = f"/Schedules/{position}"
            made._schedule(schedule)
        for position, trigger in enumerate(pipeline.event_triggers):
            made._place = f"/EventTriggers/{position}"
            made._trigger(trigger)
        written = made.schedules or made.rules or made.pipes
        if written and made.arn is None and "${" in made._account():
            what = "the ARN of the pipeline is not known"
            fix = "replace ${AWS::Region} and ${AWS::AccountId} in the document"
            made.losses.append(_loss("info", what, fix))
        if made._without_role:
            what = f"no role to start the pipeline: {', '.join(made._without_role)}"
            fix = "add a RoleArn that EventBridge may assume"
            made.losses.append(Loss("role-missing", "info", "", what, "sagemaker", fix))
        return made

    def _lose(self, severity: Severity, what: str, advice: str = "") -> None:
        self.losses.append(_loss(severity, what, advice, self._place))

    def _schedule(self, schedule: Schedule) -> None:
        expression = eventbridge_expression(schedule)
        if expression is None:
            what = f"schedule {shown(schedule.name)}: EventBridge has no {schedule.expression}"
            fix = "use cron(…), rate(…) in minutes or at(…)"
            self._lose("dropped", what, fix)
            return
        name = self._free(schedule.name)
        arn, role = self._target(schedule, schedule.extra.get("Target", EMPTY).get("RoleArn"))
        if is_rule(schedule):
            self._put_rule(schedule, expression, name, arn, role)
            return
        if "Rule" in schedule.extra:
            what = f"schedule {shown(schedule.name)}: rules have no time zone, start, end or at(…)"
            self._lose("info", f"{what}; it becomes one of EventBridge Scheduler")
        self.schedules.append(write_schedule(schedule, expression, name, arn, role))

    def _trigger(self, trigger: EventTrigger) -> None:
        if problem := _unwritable(trigger):
            what = f"event trigger {shown(trigger.name)}: {problem[0]}"
            self._lose("dropped", what, problem[1])
            return
        name = self._free(trigger.name)
        if is_pipe(trigger):
            arn, role = self._target(trigger, trigger.extra.get("Pipe", EMPTY).get("RoleArn"))
            queue = queue_arn(str(trigger.queue)) or str(trigger.queue)
            self.pipes.append(write_pipe(trigger, queue, name, arn, role))
            self._check_names(trigger)
            return
        arn, role = self._target(trigger, trigger.extra.get("Target", EMPTY).get("RoleArn"))
        self._put_rule(trigger, "", name, arn, role)
        if trigger.queue is not ABSENT:
            what = f"event trigger {shown(trigger.name)}: the rule starts the pipeline itself"
            self._lose("info", f"{what}, without the queue {trigger.queue}")

    def _put_rule(self, item: Starter, expression: str, name: str, arn: Any, role: Any) -> None:
        """Add a rule, or a target of a rule that is already there."""
        rule, target = write_rule(item, expression, name, arn, role)
        self._check_names(item)
        for other, targets in self.rules:
            if all(other.get(key) == rule.get(key) for key in ("Name", "EventBusName")):
                other.update(rule)
                if target not in targets:
                    targets.append(target)
                return
        self.rules.append((rule, [target]))

    def _check_names(self, item: Starter) -> None:
        if wrong := [one for one in item.parameters if not _PARAMETER.fullmatch(one)]:
            what = f"{shown(item.name)}: rules and pipes may reject the parameter names"
            fix = "rename the parameters: letters, digits and -"
            self._lose("changed", f"{what} {', '.join(map(shown, wrong))}", fix)

    def _free(self, wanted: str) -> str:
        """A unique name that EventBridge allows."""
        legal = wanted
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", wanted):
            legal = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted)[:60].strip("-") or "schedule"
        name = free_name(legal, self._taken, separator="-")
        self._taken.add(name)
        if name != wanted:
            problem = "EventBridge does not allow" if legal != wanted else "another one has"
            what = f"{problem} the name {shown(wanted)}; it becomes {name!r}"
            self._lose("changed", what)
        return name

    def _target(self, item: Starter, given: Value) -> tuple[Any, Any]:
        """The ARN of the pipeline, and the role that starts it."""
        role = thaw(self.role(given or ABSENT))
        if role is ABSENT:
            self._without_role.append(item.name)
        if self.arn is not None:
            return self.arn, role
        arn = item.extra.get("Target", EMPTY).get("Arn", "")
        parts = target_parts(arn)
        if parts is None or parts[1].casefold() != self.name.casefold():
            arn = f"{self._account()}pipeline/{self.name}"
        return arn, role

    def _account(self) -> str:
        """The start of the ARN of the pipeline: that of another item, or of a role's account."""
        targets = [one.extra.get("Target", EMPTY) for one in self.pipeline.starters]
        for target in targets:
            if parts := target_parts(str(target.get("Arn", ""))):
                return parts[0]
        for role in (self.pipeline.role_arn, *(one.get("RoleArn") for one in targets)):
            if match := _ROLE.fullmatch(str(role)):
                return f"arn:{match[1]}:sagemaker:${{AWS::Region}}:{match[2]}:"
        return "arn:aws:sagemaker:${AWS::Region}:${AWS::AccountId}:"


def _unwritable(trigger: EventTrigger) -> tuple[str, str] | None:
    """Why EventBridge cannot have a trigger, and the advice; None if it can."""
    if names := composed(trigger.parameters):
        what = f"EventBridge cannot put paths into a string ({', '.join(map(shown, names))})"
        return what, "pass each path in its own parameter, and join them in the pipeline"
    if is_pipe(trigger) and queue_arn(str(trigger.queue)) is None:
        what = f"the queue {shown(trigger.queue)} is not one of AWS"
        if not str(trigger.queue).startswith("arn:"):
            return what, "use https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
    if not trigger.pattern and not is_pipe(trigger):
        return "it has neither a pattern nor a queue", "add one of them"
    return None
