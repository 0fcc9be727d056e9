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
from sagebridge_operators.airflow.step_operators import (
    AutoMLOperator,
    CallbackOperator,
    ClarifyCheckOperator,
    EMROperator,
    EMRServerlessOperator,
    EndpointConfigOperator,
    EndpointOperator,
    FailOperator,
    InferenceComponentOperator,
    LambdaOperator,
    ModelOperator,
    ProcessingOperator,
    QualityCheckOperator,
    RegisterModelOperator,
    StepOperator,
    TrainingOperator,
    TransformOperator,
    TuningOperator,
)

__all__ = [
    "ABSENT",
    "AutoMLOperator",
    "CacheConfig",
    "CallbackOperator",
    "ClarifyCheckOperator",
    "ConditionOperator",
    "EMROperator",
    "EMRServerlessOperator",
    "EndpointConfigOperator",
    "EndpointOperator",
    "FailOperator",
    "InferenceComponentOperator",
    "JsonGet",
    "LambdaOperator",
    "ModelOperator",
    "OutputParameter",
    "ProcessingOperator",
    "PropertyFile",
    "PythonStepOperator",
    "QualityCheckOperator",
    "RegisterModelOperator",
    "RetryPolicy",
    "ShellStepOperator",
    "StepOperator",
    "TrainingOperator",
    "TransformOperator",
    "TuningOperator",
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
