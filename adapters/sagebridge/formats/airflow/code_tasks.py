"""Python functions and shell commands of a DAG, carried as source where they stand on their own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from sagebridge.formats.airflow.dag_options import given
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
"""Arguments that every Airflow fills in when a function has them."""
_TEMPLATES = "templates_dict"
"""An argument that Airflow fills in whatever the operator's own arguments say."""


@cache
def _context() -> frozenset[str]:
    """The arguments that this Airflow fills in."""
    from airflow.sdk.definitions import context

    return _CONTEXT.union(getattr(context, "KNOWN_CONTEXT_KEYS", context.Context.__annotations__))


def own_step(operator: Any, name: str, values: Values, origin: str) -> CarriedStep:
    """An operator of ours with the function that it calls. Raises :class:`NotSelfContained`."""
    del name, values
    step: CarriedStep = replace(operator.step, origin=origin)
    if isinstance(step, PythonStep):
        return replace(step, function=of_function(operator.python_callable))
    return step


def python_step(operator: Any, name: str, values: Values, origin: str) -> PythonStep:
    """A PythonOperator or @task function with its source. Raises :class:`NotSelfContained`.

    Airflow gives a function those of the named arguments that it asks for.
    """
    called = operator.python_callable
    function = of_function(called, decorated=hasattr(operator, "custom_operator_name"))
    given_args, given_kwargs = operator.op_args, operator.op_kwargs
    if not (isinstance(given_args, list | tuple) and isinstance(given_kwargs, Mapping)):
        raise NotSelfContained("has arguments that are known only when the DAG runs")
    asked = inspect.signature(called).parameters
    if operator.templates_dict or _TEMPLATES in {*asked, *given_kwargs}:
        raise NotSelfContained(f"takes Airflow's context ({_TEMPLATES})")
    said = {*list(asked)[: len(given_args)], *given_kwargs}
    filled = sorted(_context().intersection(asked) - said)
    if filled or any(one.kind is one.VAR_KEYWORD for one in asked.values()):
        raise NotSelfContained(f"takes Airflow's context ({', '.join(filled) or '**kwargs'})")
    kwargs = {name: value for name, value in given_kwargs.items() if name in asked}
    arguments = call_arguments(given_args, kwargs)
    return PythonStep(name, PYTHON, _sayable(arguments, values), function=function, origin=origin)


def shell_step(operator: Any, name: str, values: Values, origin: str) -> ShellStep:
    """A BashOperator with its command. Raises :class:`NotSelfContained`."""
    command = operator.bash_command
    if not isinstance(command, str):
        raise NotSelfContained("has a command that is known only when the DAG runs")
    if command.endswith((".sh", ".bash")):
        raise NotSelfContained(f"runs a file beside it, {command.split()[-1]}")
    if not isinstance(operator.env, Mapping | None):
        raise NotSelfContained("has an environment that is known only when the DAG runs")
    if operator.cwd:
        raise NotSelfContained("runs in a folder of its own (cwd)")
    if given(operator).get("output_processor"):
        raise NotSelfContained("has its output processed (output_processor)")
    if operator.skip_on_exit_code not in ([99], (99,), {99}, [], (), set()):
        raise NotSelfContained("skips what follows by its exit code (skip_on_exit_code)")
    arguments = shell_arguments(command, operator.env, operator.append_env)
    return ShellStep(name, SHELL, _sayable(arguments, values), origin=origin)


def skipping(operator: Any) -> bool:
    """Whether Airflow skips a command that ends with 99, and what follows it; a step fails."""
    return 99 in operator.skip_on_exit_code


def _sayable(arguments: Mapping[str, Any], values: Values) -> Object:
    try:
        found = values.of(arguments)
    except RunTimeValue as unknown:
        raise NotSelfContained(f"is given {unknown.what}") from None
    assert isinstance(found, Object)
    return found
