"""The rules for schedules and event triggers, from the EventBridge Scheduler guide."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from sagebridge.errors import ScheduleError
from sagebridge.model.display import did_you_mean, shown, word_set
from sagebridge.model.event_messages import is_constant, mapping_problems
from sagebridge.model.event_patterns import pattern_problems
from sagebridge.model.event_triggers import EventTrigger, Starter
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedule_expressions import FIRST_YEAR, At, ExpressionError, Rrule
from sagebridge.model.schedules import SCHEDULED_TIME, Schedule
from sagebridge.model.values import ABSENT, Value

CODES = word_set(
    "duplicate-schedule event-pattern schedule-bounds schedule-expression "
    "schedule-max-age schedule-missing-parameter schedule-name schedule-never "
    "schedule-parameter schedule-timezone schedule-window"
)
"""The codes of the findings; an execution that is started by hand does not depend on them."""
ON_ENGINES = CODES - {"schedule-max-age", "schedule-window"}
"""The codes of errors with which no engine can have a schedule or trigger."""
ANYWHERE = frozenset(("schedule-missing-parameter",))
"""The codes of errors with which a schedule or trigger starts nothing, even in EventBridge."""
WINDOW = range(1, 1441)
"""Minutes of a flexible time window (CreateSchedule, MaximumWindowInMinutes)."""
MAX_AGE = range(60, 86_401)
"""Seconds of MaximumEventAgeInSeconds (CreateSchedule, RetryPolicy)."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""The names of schedules, rules and pipes (CreateSchedule, PutRule, CreatePipe)."""
_AT_ONCE = (
    "an execution starts at the beginning of its window; spread the times of schedules instead"
)
_QUEUE = "add an SQS queue as a target of its rule, and give its URL as the queue of the trigger"
_MAX_VALUE = 1024
"""Characters of a parameter's value (StartPipelineExecution)."""


class ScheduleProblem(NamedTuple):
    """What is wrong with the schedule or trigger ``name``; ``value`` is the wrong part of it."""

    code: str
    message: str
    value: Value = ""
    severity: Literal["error", "warning"] = "error"
    name: str = ""


def check_starters(
    schedules: Sequence[Schedule],
    triggers: Sequence[EventTrigger],
    parameters: Sequence[Parameter] | None,
) -> Iterator[ScheduleProblem]:
    """Check what starts a pipeline. ``parameters`` is None if they are not known."""
    counts = Counter([one.name for one in schedules] + [one.name for one in triggers])
    for name, number in counts.items():
        if not _NAME.fullmatch(name):
            text = (
                f"invalid name {shown(name)} of a schedule or event trigger; EventBridge expects 1 "
                "to 64 letters, digits, hyphens, underscores and dots"
            )
            yield ScheduleProblem("schedule-name", text, name, "warning", name)
        if number > 1:
            text = f"{number} schedules or event triggers are named {shown(name)}"
            yield ScheduleProblem("duplicate-schedule", text, name=name)
    declared = None if parameters is None else {one.name: one for one in parameters}
    for schedule in schedules:
        for problem in (
            *_check_times(schedule),
            *_check_limits(schedule),
            *_check_parameters(schedule, declared),
        ):
            yield _located("schedule", schedule.name, problem)
    for trigger in triggers:
        for problem in (*_check_trigger(trigger), *_check_parameters(trigger, declared)):
            yield _located("event trigger", trigger.name, problem)


def check_schedules(pipeline: Pipeline) -> Iterator[ScheduleProblem]:
    """Check the schedules and triggers of a pipeline.

    Without steps and parameters it is a document that only names its pipeline, whose parameters are
    not known.
    """
    is_known = pipeline.steps or pipeline.parameters is not ABSENT
    parameters = pipeline.declared if is_known else None
    yield from check_starters(pipeline.schedules, pipeline.event_triggers, parameters)


def require_startable(pipeline: Pipeline, codes: Collection[str] = ON_ENGINES) -> None:
    """Raise ScheduleError if schedules or triggers have errors with these codes."""
    errors = [
        one.message
        for one in check_schedules(pipeline)
        if one.severity == "error" and one.code in codes
    ]
    if errors:
        raise ScheduleError(pipeline.name or "pipeline", errors)


def starter_losses(pipeline: Pipeline, target: str) -> Iterator[Loss]:
    """What both engines lack: flexible time windows, and event triggers without a queue."""
    for trigger in pipeline.event_triggers:
        if trigger.queue is ABSENT:
            what = f"event trigger {trigger.name!r} has no queue; no event starts the pipeline"
            yield Loss("event-queue", "dropped", "", what, target, _QUEUE)
    for position, schedule in enumerate(pipeline.schedules):
        if schedule.flexible_minutes is not ABSENT:
            what = f"the flexible time window of schedule {shown(schedule.name)} is not used"
            place = f"/Schedules/{position}/FlexibleTimeWindow"
            yield Loss("schedule", "info", place, what, target, _AT_ONCE)


def _located(kind: str, name: str, problem: ScheduleProblem) -> ScheduleProblem:
    return problem._replace(message=f"{kind} {shown(name)}: {problem.message}", name=name)


def _check_times(schedule: Schedule) -> Iterator[ScheduleProblem]:
    # Imported here because it imports pendulum.
    from sagebridge.model.fire_times import bounds, fire_times, zone
    from sagebridge.model.recurrences import parse_rule

    try:
        timing = schedule.timing
    except ExpressionError as error:
        message = f"{error}; {error.fix}" if error.fix else str(error)
        yield ScheduleProblem("schedule-expression", message, schedule.expression)
        timing = None
    try:
        zone(schedule.timezone)
    except ExpressionError as error:
        yield ScheduleProblem("schedule-timezone", f"timezone: {error}", schedule.timezone)
        return
    if timing is None:
        return
    times = " ".join(one for one in (schedule.start, schedule.end) if isinstance(one, str))
    try:
        start, end = bounds(schedule)
    except ExpressionError as error:
        yield ScheduleProblem("schedule-bounds", str(error), times)
        return
    if isinstance(timing, At):
        if times:
            text = "start and end have no effect on at(…)"
            yield ScheduleProblem("schedule-bounds", text, times, "warning")
    elif start is not None and end is not None and end <= start:
        text = f"end {schedule.end} is not after start {schedule.start}"
        yield ScheduleProblem("schedule-bounds", text, times)
        return
    if isinstance(timing, Rrule):  # dateutil would look for its first time until the year 9999
        try:
            parse_rule(timing.text, datetime(FIRST_YEAR, 1, 1))  # noqa: DTZ001 - a local time
        except (ValueError, TypeError, KeyError) as error:
            text = f"{schedule.expression}: {error}"
            yield ScheduleProblem("schedule-expression", text, schedule.expression)
        return
    first = next(fire_times(schedule, datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)), None)
    if first is None:
        text = f"{schedule.expression} never fires"
        yield ScheduleProblem("schedule-never", text, schedule.expression, "warning")


def _check_limits(schedule: Schedule) -> Iterator[ScheduleProblem]:
    limits = (
        ("schedule-window", "flexible_minutes", schedule.flexible_minutes, WINDOW),
        ("schedule-max-age", "max_age_seconds", schedule.max_age_seconds, MAX_AGE),
    )
    for code, name, value, allowed in limits:
        if isinstance(value, int) and value not in allowed:
            expected = f"expected {allowed.start} to {allowed.stop - 1}"
            yield ScheduleProblem(code, f"{name}: {expected}, got {value}", value)


def _check_trigger(trigger: EventTrigger) -> Iterator[ScheduleProblem]:
    for problem in pattern_problems(trigger.pattern):
        yield ScheduleProblem("event-pattern", f"pattern: {problem}", trigger.pattern)
    for problem in mapping_problems(trigger):
        yield ScheduleProblem("schedule-parameter", problem, trigger.parameters)
    if not trigger.pattern and trigger.queue is ABSENT:
        yield ScheduleProblem("event-pattern", "it has neither a pattern nor a queue")


def _check_parameters(
    starter: Starter, declared: Mapping[str, Parameter] | None
) -> Iterator[ScheduleProblem]:
    if declared is None:
        return
    for name, value in starter.parameters.items():
        if name not in declared:
            known = f"; the pipeline has {', '.join(declared)}" if declared else ""
            hint = did_you_mean(name, declared) or known or "; the pipeline has no parameters"
            text = f"unknown parameter {shown(name)}{hint}"
            yield ScheduleProblem("schedule-parameter", text, name)
        elif isinstance(starter, Schedule) or is_constant(value):
            yield from _check_value(declared[name], value)
    for name, parameter in declared.items():
        if parameter.default is ABSENT and name not in starter.parameters:
            text = f"parameter {shown(name)} has no default and is not set; give it a default"
            yield ScheduleProblem("schedule-missing-parameter", text)


def _check_value(parameter: Parameter, value: Value) -> Iterator[ScheduleProblem]:
    what = f"parameter {shown(parameter.name)} is {shown(value)}"
    try:
        coerce_one(parameter, value)
    except ParameterValueError as wrong:
        hint = ""
        if value == SCHEDULED_TIME:
            hint = "; it becomes a string such as 2026-12-01T04:00:00Z"
        yield ScheduleProblem("schedule-parameter", f"{what}, expected {wrong}{hint}", value)
        return
    if len(str(value)) > _MAX_VALUE:
        text = f"parameter {shown(parameter.name)}: a value has at most {_MAX_VALUE} characters"
        yield ScheduleProblem("schedule-parameter", text, value, "warning")
