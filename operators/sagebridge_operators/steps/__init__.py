"""What each step type is, once, for every engine and backend.

A type is one small module and one line here. ``JOB_TYPES`` are those that make something on AWS;
Condition and Fail make nothing.
"""

from __future__ import annotations

from sagebridge_operators.steps.job import JobType
from sagebridge_operators.steps.model import MODEL
from sagebridge_operators.steps.processing import PROCESSING
from sagebridge_operators.steps.register_model import REGISTER_MODEL
from sagebridge_operators.steps.training import TRAINING
from sagebridge_operators.steps.transform import TRANSFORM

JOB_TYPES: dict[str, JobType] = {
    job.type: job for job in (PROCESSING, TRAINING, TRANSFORM, MODEL, REGISTER_MODEL)
}
RUNNABLE = frozenset((*JOB_TYPES, "Condition", "Fail"))
