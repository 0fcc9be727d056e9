"""SageMaker pipelines as Airflow DAGs: one operator a step type, one task a step.

Everything that a DAG file needs is importable from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.step_operators import OPERATORS, StepOperator

if TYPE_CHECKING:
    from sagebridge_operators.airflow.code_operators import PythonStepOperator, ShellStepOperator
    from sagebridge_operators.airflow.dag_builder import build, load_folder
    from sagebridge_operators.airflow.failure_watcher import WatchOperator

__all__ = [
    "ABSENT",
    "CacheConfig",
    "ConditionOperator",
    "JsonGet",
    "OutputParameter",
    "PropertyFile",
    "PythonStepOperator",
    "RetryPolicy",
    "ShellStepOperator",
    "StepOperator",
    "WatchOperator",
    "build",
    "equals",
    "execution",
    "get",
    "greater_than",
    "greater_than_or_equal_to",
    "is_in",
    "join",
    "json_get",
    "json_get_s3",
    "less_than",
    "less_than_or_equal_to",
    "load_folder",
    "not_",
    "or_",
    "other_condition",
    "parameter",
]
__all__ += [operator.__name__ for operator in OPERATORS.values()]
globals().update({operator.__name__: operator for operator in OPERATORS.values()})

_LAZY = {
    "PythonStepOperator": "code_operators",
    "ShellStepOperator": "code_operators",
    "WatchOperator": "failure_watcher",
    "build": "dag_builder",
    "load_folder": "dag_builder",
}
"""Names imported on first use: few DAG files use them, and each parse imports this package."""


# The return type is for type checkers, which cannot see the operators that step_operators makes.
def __getattr__(name: str) -> type[StepOperator]:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: type[StepOperator] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return found
