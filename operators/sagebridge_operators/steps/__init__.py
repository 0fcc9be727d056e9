"""What each step type is, once, for every engine and backend.

A type is one small module and one line here. ``JOB_TYPES`` are those that make something on AWS;
Condition and Fail make nothing.
"""

from __future__ import annotations

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.pipeline import Step
from sagebridge_operators.steps.job_type import JobType
from sagebridge_operators.steps.model import MODEL
from sagebridge_operators.steps.processing import PROCESSING
from sagebridge_operators.steps.register_model import REGISTER_MODEL
from sagebridge_operators.steps.training import TRAINING
from sagebridge_operators.steps.transform import TRANSFORM

JOB_TYPES: dict[str, JobType] = {
    job.type: job for job in (PROCESSING, TRAINING, TRANSFORM, MODEL, REGISTER_MODEL)
}
RUNNABLE = frozenset((*JOB_TYPES, "Condition", "Fail"))


def why_not_runnable(step: Step) -> str | None:
    """What of a step sagebridge keeps and translates but cannot run yet; None where it can."""
    if step.type not in RUNNABLE and not isinstance(step, CarriedStep):
        return f"steps of type {step.type} yet (step {step.name!r})"
    for item in step.depends_on or ():
        trigger = "Succeeded" if isinstance(item, str) else item.get("Trigger", "Succeeded")
        if trigger != "Succeeded":
            return f"a step that waits for Trigger {trigger!r} of another (step {step.name!r})"
    return None
