"""SageMaker pipelines as Airflow DAGs: one operator a step type, one task a step.

Everything that a DAG file needs is importable from here.
"""

from sagebridge.model.conditions import (
    equals,
    greater_than,
    greater_than_or_equal_to,
    is_in,
    less_than,
    less_than_or_equal_to,
    not_,
    or_,
)
from sagebridge.model.expressions import execution, join, json_get, json_get_s3, parameter
from sagebridge.model.pipeline import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge_operators.airflow.condition import ConditionOperator
from sagebridge_operators.airflow.dag import build, load_folder
from sagebridge_operators.airflow.operators import (
    FailOperator,
    ModelOperator,
    ProcessingOperator,
    RegisterModelOperator,
    StepOperator,
    TrainingOperator,
    TransformOperator,
)

__all__ = [
    "CacheConfig",
    "ConditionOperator",
    "FailOperator",
    "ModelOperator",
    "OutputParameter",
    "ProcessingOperator",
    "PropertyFile",
    "RegisterModelOperator",
    "RetryPolicy",
    "StepOperator",
    "TrainingOperator",
    "TransformOperator",
    "build",
    "equals",
    "execution",
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
    "parameter",
]
