"""What Airflow and Prefect both cannot act on, though their files keep it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagebridge.formats.sagemaker.document import escape
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.conditions import Condition, Not, Or, UnknownCondition, operands
from sagebridge.model.display import shown
from sagebridge.model.expressions import VARIABLES, Get, Join, JsonGet, unknown_function
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import Object, Value


def losses_by_step(pipeline: Pipeline, target: str) -> dict[str, tuple[Loss, ...]]:
    """The losses of each step that has any, by its name."""
    found: dict[str, tuple[Loss, ...]] = {}
    for pointer, step in places(pipeline.steps):
        if lost := tuple(_losses(step, pointer, target)):
            found[step.name] = lost
    return found


def places(steps: Sequence[Step], parent: str = "/Steps") -> Iterator[tuple[str, Step]]:
    """Every step with its JSON pointer in the definition."""
    for position, step in enumerate(steps):
        here = f"{parent}/{position}"
        yield here, step
        if isinstance(step, ConditionStep):
            yield from places(step.if_steps or (), f"{here}/Arguments/IfSteps")
            yield from places(step.else_steps or (), f"{here}/Arguments/ElseSteps")


def _losses(step: Step, pointer: str, target: str) -> Iterator[Loss]:
    if step.type not in OPERATOR_TYPES and not isinstance(step, CarriedStep):
        yield Loss(
            "unknown-step-type",
            "changed",
            f"{pointer}/Type",
            f"step {step.name!r} has the type {step.type!r}, which no operator runs",
            target,
            "the file keeps it; running it fails with a clear error",
        )
    for position, item in enumerate(step.depends_on or ()):
        if not isinstance(item, str) and item.get("Trigger", "Succeeded") != "Succeeded":
            yield Loss(
                "dependency-trigger",
                "changed",
                f"{pointer}/DependsOn/{position}",
                f"step {step.name!r} waits for Trigger {item['Trigger']!r} of {item['Step']!r}",
                target,
                "only success is waited for; running it fails with a clear error",
            )
    for place, what in _unresolvable(step, pointer):
        yield Loss(
            "unknown-expression",
            "changed",
            place,
            f"step {step.name!r} uses {what}, which has no meaning that sagebridge knows",
            target,
            "the file keeps it; running it fails with a clear error",
        )
    if isinstance(step, ConditionStep):
        for position, condition in enumerate(step.conditions or ()):
            if _unknown(condition):
                yield Loss(
                    "unknown-condition",
                    "changed",
                    f"{pointer}/Arguments/Conditions/{position}",
                    f"condition {step.name!r} has a condition of unknown form",
                    target,
                    "the file keeps it; running it fails with a clear error",
                )


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
