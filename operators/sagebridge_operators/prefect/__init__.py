"""SageMaker pipelines as Prefect flows: one function per step type, one task run per step.

Flow files import everything that they need from here. A step function only declares a step and
returns immediately; :func:`finish` runs each step once its dependencies have ended.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sagebridge.authoring import public_names
from sagebridge.authoring.pipeline_builder import StepHandle
from sagebridge.authoring.public_names import *  # noqa: F403 - its __all__ lists them
from sagebridge_operators.backends.lambda_functions import register_lambda
from sagebridge_operators.prefect.cancellation_hooks import stop_jobs
from sagebridge_operators.prefect.pipeline_flow import pipeline_flow
from sagebridge_operators.prefect.step_functions import (
    FUNCTIONS,
    aws_call,
    begin,
    condition,
    finish,
    for_each,
    python,
    shell,
    step,
    stub,
)

__all__ = [
    "aws_call",
    "begin",
    "condition",
    "finish",
    "for_each",
    "pipeline_flow",
    "python",
    "register_lambda",
    "shell",
    "step",
    "stop_jobs",
    "stub",
]
__all__ += public_names.__all__
__all__ += list(FUNCTIONS)
globals().update(FUNCTIONS)

if TYPE_CHECKING:  # type checkers cannot see the names that globals().update() adds

    def __getattr__(name: str) -> Callable[..., StepHandle]: ...
