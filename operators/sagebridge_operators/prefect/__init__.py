"""SageMaker pipelines as Prefect flows: one function per step type, one task run per step.

Flow files import everything that they need from here. A step function only declares a step and
returns immediately; :func:`finish` runs each step once its dependencies have ended.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sagebridge.authoring.pipeline_builder import StepHandle
from sagebridge.model.conditions import (
    equals,
    greater_than,
    greater_than_or_equal_to,
    is_in,
    less_than,
    less_than_or_equal_to,
    not_,
    or_,
    other_condition,
)
from sagebridge.model.expressions import (
    JsonGet,
    execution,
    get,
    join,
    json_get,
    json_get_s3,
    parameter,
)
from sagebridge.model.pipeline import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import ABSENT
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
    "ABSENT",
    "CacheConfig",
    "JsonGet",
    "OutputParameter",
    "PropertyFile",
    "RetryPolicy",
    "begin",
    "condition",
    "equals",
    "execution",
    "finish",
    "get",
    "greater_than",
    "greater_than_or_equal_to",
    "is_in",
    "join",
    "json_get",
    "json_get_s3",
    "less_than",
    "less_than_or_equal_to",
    "not_",
    "or_",
    "other_condition",
    "parameter",
    "python",
    "shell",
    "step",
    "stop_jobs",
]
__all__ += list(FUNCTIONS)
globals().update(FUNCTIONS)

if TYPE_CHECKING:  # type checkers cannot see the names that globals().update() adds

    def __getattr__(name: str) -> Callable[..., StepHandle]: ...
