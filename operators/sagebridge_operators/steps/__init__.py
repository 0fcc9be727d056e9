"""How each step type runs, the same under every engine and backend.

Each module for a type that creates a job or resource describes it as ``STEP``. Condition and Fail
steps create nothing.
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
"""The types that have a module. Other types that create a job or resource cannot run yet."""
RUNNABLE = frozenset(
    (*JOB_TYPES, *(row.name for row in STEP_TYPES.values() if row.makes == "nothing"))
)


def why_not_runnable(step: Step) -> str | None:
    """The reason why sagebridge cannot run a step, as in "cannot run ..."; None if it can."""
    if step.type not in RUNNABLE and not isinstance(step, CarriedStep):
        return f"steps of type {step.type} yet (step {step.name!r})"
    for item in step.depends_on or ():
        trigger = "Succeeded" if isinstance(item, str) else item.get("Trigger", "Succeeded")
        if trigger != "Succeeded":
            return (
                f"steps that depend on another step with Trigger {trigger!r} (step {step.name!r})"
            )
    return None
