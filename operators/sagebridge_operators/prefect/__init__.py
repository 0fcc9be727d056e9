"""SageMaker pipelines as Prefect flows: one function a step type, one task run a step.

Everything that a flow file needs is importable from here. A step function says what a step is and
returns at once; :func:`finish` runs all of them, each as soon as those that it waits for are done.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sagebridge.authoring import public_names
from sagebridge.authoring.pipeline_builder import StepHandle
from sagebridge.authoring.public_names import *  # noqa: F403 - its __all__ lists them
from sagebridge_operators.prefect.cancellation_hooks import stop_jobs
from sagebridge_operators.prefect.step_functions import (
    FUNCTIONS,
    begin,
    condition,
    finish,
    python,
    shell,
    step,
)

__all__ = [
    "begin",
    "condition",
    "finish",
    "python",
    "shell",
    "step",
    "stop_jobs",
]
__all__ += public_names.__all__
__all__ += [name for name in FUNCTIONS]  # noqa: C416 - ruff knows no other
globals().update(FUNCTIONS)

if TYPE_CHECKING:  # type checkers cannot see the functions that step_functions makes

    def __getattr__(name: str) -> Callable[..., StepHandle]: ...
