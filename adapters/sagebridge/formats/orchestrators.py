"""What Airflow and Prefect both cannot act on, though their files keep it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagebridge.formats.step_forms import FORMS
from sagebridge.model.carried import CarriedStep
from sagebridge.model.conditions import Condition, Not, Or, UnknownCondition
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step


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
    if step.type not in FORMS and not isinstance(step, CarriedStep):
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


def _unknown(condition: Condition) -> bool:
    match condition:
        case UnknownCondition():
            return True
        case Not(condition=inner):
            return _unknown(inner)
        case Or(conditions=several):
            return any(map(_unknown, several))
    return False
