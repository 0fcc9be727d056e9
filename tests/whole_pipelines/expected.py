"""The states in which the steps of a scenario must end, worked out without the product's rules.

Every job succeeds, except those that the scenario lets fail or stop. Section 5 of the design in
short: a step of a branch that is not taken is Skipped. A step runs if every earlier step allows
it. Otherwise it is NotRun if one that must succeed did not, and else Skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sagebridge.model.expressions import is_expression, references
from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import input_shape
from tests.whole_pipelines.scenarios import FAILING, Scenario

_ALLOWS = {
    "Completed": ("Succeeded",),
    "Failed": ("Failed", "NotRun"),
    "Stopped": ("Stopped",),
    "Any": ("Succeeded", "Failed", "Stopped", "Skipped", "NotRun"),
}
"""The states of an earlier step after which each trigger lets a step run."""


def expected_states(pipeline: Pipeline, scenario: Scenario) -> dict[str, str]:
    """The state of each step."""
    steps = {step.name: step for step in walk(pipeline)}
    branch = {
        inner.name: (step.name, holds)
        for step in steps.values()
        if isinstance(step, ConditionStep)
        for holds, inners in ((True, step.if_steps), (False, step.else_steps))
        for inner in inners or ()
    }
    found: dict[str, str] = {}
    within = body_owners(pipeline)
    while left := [name for name in steps if name not in found and name not in within]:
        for name in left:
            waits = _waits(steps[name], branch)
            if waits.keys() <= found.keys():
                found[name] = _state(steps[name], waits, found, branch, scenario)
                if isinstance(steps[name], ForEachStep):
                    found |= _of_body(steps[name], found[name], scenario)
    return found


def _waits(step: Step, branch: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """What each earlier step must be: the triggers by step."""
    waits: dict[str, set[str]] = {}
    for item in step.depends_on or ():
        if isinstance(item, str) or item.trigger is ABSENT:
            waits.setdefault(item if isinstance(item, str) else item.step, set()).add("Completed")
        else:
            waits.setdefault(item.step, set()).add(str(item.trigger))
    for value in step.values():
        for reference in references(value):
            if reference.step is not None:
                waits.setdefault(reference.step, set()).add("Completed")
    if step.name in branch:
        waits.setdefault(branch[step.name][0], set()).add("Completed")
    if isinstance(step, ForEachStep):
        for inner in step.inner:
            for name, triggers in _waits(inner, {}).items():
                waits.setdefault(name, set()).update(triggers)
        for inner in step.inner:
            waits.pop(inner.name, None)
    return waits


def _state(
    step: Step,
    waits: Mapping[str, set[str]],
    found: Mapping[str, str],
    branch: Mapping[str, tuple[str, bool]],
    scenario: Scenario,
) -> str:
    if step.name in branch:
        condition, holds = branch[step.name]
        if found[condition] == "Succeeded" and scenario.outcomes.get(condition) is not holds:
            return "Skipped"
    blocking = [
        (found[name], trigger)
        for name, triggers in waits.items()
        for trigger in triggers
        if found[name] not in _ALLOWS[trigger]
    ]
    if any(trigger == "Completed" and state != "Skipped" for state, trigger in blocking):
        return "NotRun"
    if blocking:
        return "Skipped"
    if step.type == "Fail" or is_refused(step) or step.name in scenario.undecided:
        return "Failed"
    ends = [end for name, end in scenario.ends.items() if name in _jobs(step)]
    return ends[0] if ends else "Succeeded"


def is_refused(step: Step) -> bool:
    """Whether the API's model refuses the create request of a step.

    It lacks a key or has an unknown one.
    """
    row, job = STEP_TYPES[step.type], JOB_TYPES.get(step.type)
    if job is None or "" not in row.requests or not isinstance(step.arguments, Mapping):
        return False
    ignored = {*row.filled_in, *job.dropped_arguments, str(job.role_key)}
    return _is_wrong(input_shape(job.create), step.arguments, ignored)


def _is_wrong(shape: Any, value: Any, ignored: Collection[str] = ()) -> bool:
    if is_expression(value):
        return False
    if shape.type_name == "structure" and isinstance(value, Mapping):
        known = {name: one for name, one in value.items() if name in shape.members}
        lacks = set(shape.required_members) - value.keys() - set(ignored)
        more = value.keys() - known.keys() - set(ignored)
        wrong = any(_is_wrong(shape.members[name], one) for name, one in known.items())
        return bool(lacks or more or wrong)
    if shape.type_name == "list" and isinstance(value, Sequence):
        return any(_is_wrong(shape.member, one) for one in value)
    if shape.type_name == "map" and isinstance(value, Mapping):
        return any(_is_wrong(shape.value, one) for one in value.values())
    return False


def _jobs(step: Step) -> set[str]:
    """The names under which a scenario lets the jobs of a step fail."""
    return {step.name, *(f"{inner.name}-{FAILING}" for inner in step.inner)}


def _of_body(step: Step, state: str, scenario: Scenario) -> dict[str, str]:
    """The states of body steps over all iterations: the worst of those that ran."""
    if state in ("Skipped", "NotRun"):
        return {inner.name: state for inner in step.inner}
    return {
        inner.name: scenario.ends.get(f"{inner.name}-{FAILING}", "Succeeded")
        for inner in step.inner
    }
