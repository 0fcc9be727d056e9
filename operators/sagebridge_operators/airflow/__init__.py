"""SageMaker pipelines as Airflow DAGs: one operator per step type, one task per step.

DAG files import everything that they need from here.
"""

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
from sagebridge_operators.airflow.code_operators import PythonStepOperator, ShellStepOperator
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.dag_builder import build, load_folder
from sagebridge_operators.airflow.failure_watcher import WatchOperator
from sagebridge_operators.airflow.step_operators import OPERATORS, StepOperator

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

if TYPE_CHECKING:  # type checkers cannot see the classes that globals().update() adds

    def __getattr__(name: str) -> type[StepOperator]: ...
