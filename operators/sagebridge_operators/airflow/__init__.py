"""SageMaker pipelines as Airflow DAGs: one operator per step type, one task per step.

DAG files import everything that they need from here.
"""

from typing import TYPE_CHECKING

from sagebridge.authoring import public_names
from sagebridge.authoring.public_names import *  # noqa: F403 - its __all__ lists them
from sagebridge_operators.airflow.code_operators import PythonStepOperator, ShellStepOperator
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.dag_builder import build, load_folder
from sagebridge_operators.airflow.failure_watcher import WatchOperator
from sagebridge_operators.airflow.step_operators import OPERATORS, StepOperator

__all__ = [
    "ConditionOperator",
    "PythonStepOperator",
    "ShellStepOperator",
    "StepOperator",
    "WatchOperator",
    "build",
    "load_folder",
]
__all__ += public_names.__all__
__all__ += [operator.__name__ for operator in OPERATORS.values()]
globals().update({operator.__name__: operator for operator in OPERATORS.values()})

if TYPE_CHECKING:  # type checkers cannot see the classes that globals().update() adds

    def __getattr__(name: str) -> type[StepOperator]: ...
