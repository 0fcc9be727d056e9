"""SageMaker pipelines as Airflow DAGs: one operator per step type, one task per step.

DAG files import everything that they need from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sagebridge.authoring import public_names
from sagebridge.authoring.public_names import *  # noqa: F403 - its __all__ lists them
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.step_operators import OPERATORS, StepOperator
from sagebridge_operators.backends.lambda_functions import register_lambda

if TYPE_CHECKING:
    from sagebridge_operators.airflow.aws_call_operator import AwsCallOperator
    from sagebridge_operators.airflow.code_operators import PythonStepOperator, ShellStepOperator
    from sagebridge_operators.airflow.dag_builder import build, load_folder
    from sagebridge_operators.airflow.event_queue import queue_asset
    from sagebridge_operators.airflow.failure_watcher import WatchOperator
    from sagebridge_operators.airflow.for_each_operator import ForEachOperator
    from sagebridge_operators.airflow.pipeline_group import PipelineTaskGroup
    from sagebridge_operators.airflow.schedule_timetable import EventBridgeTimetable
    from sagebridge_operators.airflow.start_operator import StartPipelineOperator
    from sagebridge_operators.airflow.step_callbacks import FlowHook
    from sagebridge_operators.airflow.stub_operator import StubOperator
    from sagebridge_operators.airflow.sweep_operator import SweepOperator

__all__ = [
    "AwsCallOperator",
    "ConditionOperator",
    "EventBridgeTimetable",
    "FlowHook",
    "ForEachOperator",
    "PipelineTaskGroup",
    "PythonStepOperator",
    "ShellStepOperator",
    "StartPipelineOperator",
    "StepOperator",
    "StubOperator",
    "SweepOperator",
    "WatchOperator",
    "build",
    "load_folder",
    "queue_asset",
    "register_lambda",
]
__all__ += public_names.__all__
__all__ += [operator.__name__ for operator in OPERATORS.values()]
globals().update({operator.__name__: operator for operator in OPERATORS.values()})

_LAZY = {
    "AwsCallOperator": "aws_call_operator",
    "EventBridgeTimetable": "schedule_timetable",
    "FlowHook": "step_callbacks",
    "ForEachOperator": "for_each_operator",
    "PipelineTaskGroup": "pipeline_group",
    "PythonStepOperator": "code_operators",
    "ShellStepOperator": "code_operators",
    "StartPipelineOperator": "start_operator",
    "StubOperator": "stub_operator",
    "SweepOperator": "sweep_operator",
    "WatchOperator": "failure_watcher",
    "build": "dag_builder",
    "load_folder": "dag_builder",
    "queue_asset": "event_queue",
}
"""Names imported on first use: few DAG files use them, and each parse imports this package."""


# The return type is for type checkers, which cannot see the operators that step_operators makes.
def __getattr__(name: str) -> type[StepOperator]:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: type[StepOperator] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return found
