"""How each step type runs, once, for every engine and backend.

A module here that makes something on AWS describes it as ``STEP``. Condition and Fail make nothing.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.steps.job_type import JobType

_MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
JOB_TYPES: dict[str, JobType] = {
    module.STEP.type: module.STEP for module in _MODULES if hasattr(module, "STEP")
}
"""The types that a module describes. A type that makes something and is missing cannot run yet."""
RUNNABLE = frozenset(
    (*JOB_TYPES, *(row.name for row in STEP_TYPES.values() if row.makes == "nothing"))
)


def why_not_runnable(step: Step) -> str | None:
    """What of a step sagebridge keeps and translates but cannot run yet; None where it can."""
    if step.type not in RUNNABLE and not isinstance(step, CarriedStep):
        return f"steps of type {step.type} yet (step {step.name!r})"
    for item in step.depends_on or ():
        trigger = "Succeeded" if isinstance(item, str) else item.get("Trigger", "Succeeded")
        if trigger != "Succeeded":
            return f"a step that waits for Trigger {trigger!r} of another (step {step.name!r})"
    return None
