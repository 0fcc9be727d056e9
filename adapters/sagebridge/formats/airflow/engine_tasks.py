"""Which tasks become steps that both engines run: user code and the standard provider's operators.

Operators are matched by class name, as only the process that imports a DAG may import Airflow.
"""

from __future__ import annotations

import inspect
from functools import cache
from types import FunctionType
from typing import Any

from sagebridge.formats.airflow.code_tasks import (
    COMMAND_OPERATORS,
    ROLES,
    SHELL_OPERATORS,
    CodeTask,
)
from sagebridge.formats.airflow.custom_operators import custom_arguments, custom_step, is_custom
from sagebridge.formats.airflow.environment_tasks import (
    ENVIRONMENT_READS,
    ENVIRONMENT_ROLES,
    environment_step,
)
from sagebridge.formats.airflow.operator_classes import classes
from sagebridge.formats.airflow.standard_operators import LIBRARY_CALLS
from sagebridge.formats.airflow.task_facts import is_sagebridge
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model.display import words
from sagebridge.model.pipeline import Step

_READS = words(
    "append_env bash_command cwd definition_name env op_args op_kwargs output_processor "
    "python_callable skip_on_exit_code templates_dict"
)
_SHELL = (*SHELL_OPERATORS, *COMMAND_OPERATORS)
_ASSET = "_AssetMainOperator"
"""The operator of a function with ``@asset``; its parameters are assets."""
_CONDITION = "combine_hooks."
"""The hook of run_if and skip_if (airflow/sdk/definitions/decorators/condition.py)."""
_SENSOR_READS = ("exponential_backoff", "poke_interval", "soft_fail", "timeout")


def is_carried(task: Any) -> bool:
    """Whether a task, mapped or not, is of an operator whose steps both engines run."""
    name = _standard_class(task)
    known = (ROLES, _SHELL, LIBRARY_CALLS, ENVIRONMENT_ROLES)
    return any(name in one for one in known) or is_custom(task)


def _standard_class(task: Any) -> str:
    """The operator of Airflow that a task is; empty if a subclass changes what it does."""
    cls: Any = getattr(task, "operator_class", None) or type(task)
    return _of_class(cls)


@cache
def _of_class(cls: Any) -> str:
    for one in cls.__mro__:
        if one.__module__.startswith("airflow."):
            # The classes with this suffix only wait without a worker.
            return str(one.__name__.removesuffix("Async"))
        own = {name for name, value in vars(one).items() if isinstance(value, FunctionType)}
        if own - {"__init__"}:
            return ""
    return ""


def carried_arguments(task: Any) -> tuple[str, ...]:
    """The arguments of a task that are part of its steps."""
    name = _standard_class(task)
    own = LIBRARY_CALLS[name].reads if name in LIBRARY_CALLS else _READS
    if is_custom(task):
        own = tuple(custom_arguments(task))
    if name in ENVIRONMENT_ROLES:
        own = (*own, *ENVIRONMENT_READS)
    return (*own, *(_SENSOR_READS if "BaseSensorOperator" in classes(task) else ()))


def carried_steps(task: CodeTask) -> list[Step]:
    """The steps of a task. Raises :class:`NotSelfContained`."""
    operator = task.operator
    if is_sagebridge(operator):
        return [task.sagebridge_step()]
    if is_custom(operator):
        return [custom_step(task)]
    hook = getattr(operator, "_pre_execute_hook", None)
    if getattr(hook, "__qualname__", "").startswith(_CONDITION):
        raise NotSelfContained("runs only on a condition (run_if or skip_if)")
    name = _standard_class(operator)
    if name in LIBRARY_CALLS:
        return [LIBRARY_CALLS[name].step(task)]
    if name in SHELL_OPERATORS:
        return [task.shell_step()]
    if name in COMMAND_OPERATORS:
        return list(task.command_steps())
    if name == _ASSET and inspect.signature(operator.python_callable).parameters:
        raise NotSelfContained("has parameters that are assets")
    if name in ENVIRONMENT_ROLES:
        return [environment_step(task, ENVIRONMENT_ROLES[name])]
    if name not in ROLES:
        raise NotSelfContained(f"is a {type(operator).__name__}, which is not known")
    return [task.python_step(ROLES[name])]


def loss_code(task: Any) -> str:
    """The code of the loss of a task that cannot be carried."""
    if "BashOperator" in classes(task):
        return "shell-task"
    return "python-task" if hasattr(task, "python_callable") else "operator"
