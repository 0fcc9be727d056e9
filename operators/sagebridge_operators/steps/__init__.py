"""How each step type runs, the same under every engine and backend.

Each module for a type that creates a job or resource describes it as ``STEP``. Condition and Fail
steps create nothing.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.steps.job_type import JobType

_MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
JOB_TYPES: dict[str, JobType] = {
    module.STEP.type: module.STEP for module in _MODULES if hasattr(module, "STEP")
}
"""The types that have a module. Other types that create a job or resource cannot run yet."""
PIPELINE_TYPES = {name: one for name, one in JOB_TYPES.items() if name in STEP_TYPES}
"""The ones that are step types of SageMaker."""
RUNNABLE = frozenset(
    (*PIPELINE_TYPES, *(row.name for row in STEP_TYPES.values() if row.makes == "nothing"))
)
