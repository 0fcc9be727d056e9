"""What Airflow and Prefect both cannot act on, though their files keep it all."""

from __future__ import annotations

from collections.abc import Iterator

from sagebridge.formats.step_forms import FORMS
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.conditions import Condition, Not, Or, UnknownCondition, operands
from sagebridge.model.display import shown
from sagebridge.model.expressions import VARIABLES, Get, Join, JsonGet, unknown_function
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.pointers import escape, step_pointers
from sagebridge.model.values import Object, Value

_KEPT = "the file keeps it; running it fails with a clear error"
_NOT_WAITED_FOR = "only success is waited for; running it fails with a clear error"


def losses_by_step(pipeline: Pipeline, target: str) -> dict[str, tuple[Loss, ...]]:
    """The losses of each step that has any, by its name."""
    found: dict[str, tuple[Loss, ...]] = {}
    for pointer, step in step_pointers(pipeline.steps):
        if lost := tuple(_losses(step, pointer, target)):
            found[step.name] = lost
    return found


def _losses(step: Step, pointer: str, target: str) -> Iterator[Loss]:
    name = step.name
    if step.type not in FORMS and not isinstance(step, CarriedStep):
        what = f"step {name!r} has the type {step.type!r}, which no operator runs"
        yield Loss("unknown-step-type", "changed", f"{pointer}/Type", what, target, _KEPT)
    for position, item in enumerate(step.depends_on or ()):
        if not isinstance(item, str) and item.get("Trigger", "Succeeded") != "Succeeded":
            what = f"step {name!r} waits for Trigger {item['Trigger']!r} of {item['Step']!r}"
            place = f"{pointer}/DependsOn/{position}"
            yield Loss("dependency-trigger", "changed", place, what, target, _NOT_WAITED_FOR)
    for place, part in _unresolvable(step, pointer):
        what = f"step {name!r} uses {part}, which has no meaning that sagebridge knows"
        yield Loss("unknown-expression", "changed", place, what, target, _KEPT)
    if isinstance(step, ConditionStep):
        for position, condition in enumerate(step.conditions or ()):
            if _unknown(condition):
                place = f"{pointer}/Arguments/Conditions/{position}"
                what = f"condition {name!r} has a condition of unknown form"
                yield Loss("unknown-condition", "changed", place, what, target, _KEPT)


def _unresolvable(step: Step, pointer: str) -> Iterator[tuple[str, str]]:
    """Functions and variables that we do not know, each with its place."""
    yield from _unknown_parts(step.arguments, f"{pointer}/Arguments")
    for name, value in step.extra.items():
        yield from _unknown_parts(value, f"{pointer}/{escape(name)}")
    if isinstance(step, ConditionStep):
        for position, condition in enumerate(step.conditions or ()):
            for value in operands(condition):
                yield from _unknown_parts(
                    value, f"{pointer}/Arguments/Conditions/{position}", inside=False
                )


def _unknown_parts(value: Value, pointer: str, *, inside: bool = True) -> Iterator[tuple[str, str]]:
    """``inside`` tells whether the pointer goes on into the value, as a definition writes it."""

    def below(name: str | int) -> str:
        return f"{pointer}/{escape(str(name))}" if inside else pointer

    match value:
        case Get(root=root) if root in VARIABLES and value.name not in VARIABLES[root]:
            yield pointer, f"the variable {shown(value.text)}"
        case Join(values=values):
            for item in values:
                yield from _unknown_parts(item, pointer, inside=False)
        case JsonGet(s3_uri=uri, path=path):
            yield from _unknown_parts(uri, pointer, inside=False)
            yield from _unknown_parts(path, pointer, inside=False)
        case Object():
            if (function := unknown_function(value)) is not None:
                text = value[function]
                is_reference = function == "Get" and isinstance(text, str)
                what = f"reference {shown(text)}" if is_reference else f"function {shown(function)}"
                yield pointer, f"the {what}"
                return
            for name, item in value.items():
                yield from _unknown_parts(item, below(name), inside=inside)
        case tuple():
            for position, item in enumerate(value):
                yield from _unknown_parts(item, below(position), inside=inside)


def _unknown(condition: Condition) -> bool:
    match condition:
        case UnknownCondition():
            return True
        case Not(condition=inner):
            return _unknown(inner)
        case Or(conditions=several):
            return any(map(_unknown, several))
    return False
