"""Python and shell tasks of a DAG as carried steps, if their code is self-contained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from sagebridge.formats.airflow.dag_options import operator_arguments
from sagebridge.formats.airflow.task_values import RunTimeValue, Values
from sagebridge.formats.python.function_source import NotSelfContained, of_function
from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    CarriedStep,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import is_expression
from sagebridge.model.values import Object

_CONTEXT = frozenset(
    (
        "conn",
        "context",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "macros",
        "params",
        "run_id",
        "task",
        "task_instance",
        "ti",
        "ts",
        "ts_nodash",
        "var",
    )
)
"""Parameters of a function that every supported Airflow fills in from the task context."""
_TEMPLATES_DICT = "templates_dict"
"""``PythonOperator.execute`` fills in this parameter even if ``op_kwargs`` has a value for it."""


@cache
def _context() -> frozenset[str]:
    """The parameters that the installed Airflow fills in."""
    from airflow.sdk.definitions import context

    # Not a public name (airflow/sdk/definitions/context.py); Context has the same keys.
    return _CONTEXT.union(getattr(context, "KNOWN_CONTEXT_KEYS", context.Context.__annotations__))


def sagebridge_step(operator: Any, name: str, values: Values, origin: str) -> CarriedStep:
    """The step of a sagebridge operator, with its function. Raises :class:`NotSelfContained`."""
    del name, values
    step: CarriedStep = replace(operator.step, origin=origin)
    if isinstance(step, PythonStep):
        return replace(step, function=of_function(operator.python_callable))
    return step


def python_step(operator: Any, name: str, values: Values, origin: str) -> PythonStep:
    """A PythonOperator or @task function with its source. Raises :class:`NotSelfContained`.

    As in Airflow, ``op_kwargs`` without a parameter of that name are ignored.
    """
    called = operator.python_callable
    function = of_function(called, decorated=hasattr(operator, "custom_operator_name"))
    args, kwargs = operator.op_args, operator.op_kwargs
    if not (isinstance(args, list | tuple) and isinstance(kwargs, Mapping)):
        raise NotSelfContained("has arguments that are only known at run time")
    parameters = inspect.signature(called).parameters
    if operator.templates_dict or _TEMPLATES_DICT in {*parameters, *kwargs}:
        raise NotSelfContained(f"needs the Airflow context ({_TEMPLATES_DICT})")
    bound = {*list(parameters)[: len(args)], *kwargs}
    filled = sorted(_context().intersection(parameters) - bound)
    if filled or any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        raise NotSelfContained(f"needs the Airflow context ({', '.join(filled) or '**kwargs'})")
    kwargs = {name: value for name, value in kwargs.items() if name in parameters}
    arguments = call_arguments(args, kwargs)
    return PythonStep(
        name, PYTHON, _argument_values(arguments, values), function=function, origin=origin
    )


def shell_step(operator: Any, name: str, values: Values, origin: str) -> ShellStep:
    """A BashOperator with its command. Raises :class:`NotSelfContained`."""
    command = operator.bash_command
    if not isinstance(command, str) and not is_expression(command):
        raise NotSelfContained("has a command that is only known at run time")
    if isinstance(command, str) and command.endswith((".sh", ".bash")):
        raise NotSelfContained(f"runs the script file {command.split()[-1]}")
    if not isinstance(operator.env, Mapping | None):
        raise NotSelfContained("has an environment that is only known at run time")
    if operator.cwd:
        raise NotSelfContained("sets a working directory (cwd)")
    if operator_arguments(operator).get("output_processor"):
        raise NotSelfContained("processes its output (output_processor)")
    if operator.skip_on_exit_code not in ([99], (99,), {99}, [], (), set()):
        raise NotSelfContained("is skipped on certain exit codes (skip_on_exit_code)")
    arguments = shell_arguments(command, operator.env, operator.append_env)
    return ShellStep(name, SHELL, _argument_values(arguments, values), origin=origin)


def is_skipped_on_99(operator: Any) -> bool:
    """Whether exit code 99 skips the task and its dependants in Airflow; a step would fail."""
    return 99 in operator.skip_on_exit_code


def _argument_values(arguments: Mapping[str, Any], values: Values) -> Object:
    try:
        found = values.of(arguments)
    except RunTimeValue as unknown:
        raise NotSelfContained(f"uses {unknown.what}") from None
    assert isinstance(found, Object)
    return found
