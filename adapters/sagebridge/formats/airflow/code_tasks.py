"""Python and shell tasks of a DAG as carried steps, with their code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from os.path import commonprefix
from typing import Any

from sagebridge.formats.airflow.dag_options import operator_arguments
from sagebridge.formats.airflow.sagebridge_tasks import step_of
from sagebridge.formats.airflow.task_facts import label
from sagebridge.formats.airflow.task_values import RunTimeValue, Values, as_template, is_template
from sagebridge.formats.python.function_source import NotSelfContained, of_function
from sagebridge.formats.python.source_code import identifier
from sagebridge.model.airflow2_context import OLD_DATES
from sagebridge.model.code_steps import (
    BRANCH,
    DIRECT_GATE,
    GATE,
    PYTHON,
    RETURN_VALUE,
    SENSOR,
    SHELL,
    CarriedStep,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.expressions import Get, Member
from sagebridge.model.functions import Function
from sagebridge.model.values import Object, Value

ROLES = {
    "PythonOperator": "",
    "_AssetMainOperator": "",
    "_PythonDecoratedOperator": "",
    "BranchPythonOperator": BRANCH,
    "_BranchPythonDecoratedOperator": BRANCH,
    "ShortCircuitOperator": GATE,
    "_ShortCircuitDecoratedOperator": GATE,
    "PythonSensor": SENSOR,
    "DecoratedSensorOperator": SENSOR,
}
"""The operators that call a function, with the role of its result."""
SHELL_OPERATORS = ("BashOperator",)
COMMAND_OPERATORS = ("_BashDecoratedOperator",)
"""Operators that run the command that a function returns."""
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
UNPACKED = "unpacked"
"""An argument of a step: a dict whose items are keyword arguments; also an attribute of an operator
that is mapped over such dicts."""
_RUN_COMMAND = Function("run_command", "", imported_from="sagebridge_operators.functions.shell")
_DEFAULT_SKIP = re.compile(r"\b99\b").search
"""Finds the exit code that skips a task by default, but no other numbers with these digits."""
_COMMAND = "-command"
"""The suffix of the step whose result is the command of a task."""


@cache
def context_names() -> frozenset[str]:
    """The parameters that the installed Airflow fills in."""
    from airflow.sdk.definitions import context

    # Not a public name (airflow/sdk/definitions/context.py); Context has the same keys.
    return _CONTEXT.union(
        OLD_DATES, getattr(context, "KNOWN_CONTEXT_KEYS", context.Context.__annotations__)
    )


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A task of user code, and what its step needs.

    Attributes:
        name: the name of its step.
        origin: its line.
    """

    operator: Any
    name: str
    values: Values
    origin: str

    def sagebridge_step(self) -> CarriedStep:
        """The step of a sagebridge operator, with its function."""
        step = step_of(self.operator, self.values, as_template)
        assert isinstance(step, CarriedStep)
        step = replace(step, origin=self.origin)
        if isinstance(step, PythonStep) and not step.function.imported_from:
            return replace(step, function=of_function(self.operator.python_callable))
        return step

    def python_step(self, role: str = "", name: str = "") -> PythonStep:
        """The call of a function, with its source. Raises :class:`NotSelfContained`.

        As in Airflow, ``op_kwargs`` without a parameter of that name are ignored.
        """
        operator = self.operator
        called = operator.python_callable
        decorated = hasattr(operator, "custom_operator_name")
        function = of_function(called, decorated=decorated, name=_own_name(operator))
        args, unpacked = operator.op_args, getattr(operator, UNPACKED, None)
        if not isinstance(args, list | tuple):
            raise NotSelfContained("has positional arguments that are only known at run time")
        if isinstance(operator.op_kwargs, Mapping):
            kwargs = dict(operator.op_kwargs)
        else:
            kwargs, unpacked = {}, operator.op_kwargs
        if templates := getattr(operator, _TEMPLATES_DICT, None):
            kwargs[_TEMPLATES_DICT] = templates
        parameters = inspect.signature(called).parameters
        takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        bound = {*list(parameters)[: len(args)], *kwargs}
        context = takes_all or bool(context_names().intersection(parameters) - bound)
        if not takes_all:
            kwargs = {one: value for one, value in kwargs.items() if one in parameters}
        if getattr(operator, "ignore_downstream_trigger_rules", True) is not True:
            role = DIRECT_GATE
        given = call_arguments(args, kwargs)
        if unpacked is not None:
            given[UNPACKED] = unpacked
        return self.step(function, given, role=role, context=context, name=name)

    def step(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        *,
        role: str = "",
        context: bool = False,
        name: str = "",
    ) -> PythonStep:
        """A call of a function with the arguments of the task."""
        values = self._argument_values(arguments)
        return PythonStep(
            name or self.name,
            PYTHON,
            values,
            function=function,
            origin=self.origin,
            role=role,
            context=context,
        )

    def shell_step(self) -> CarriedStep:
        """A BashOperator with its command. Raises :class:`NotSelfContained`."""
        command = self.operator.bash_command
        if isinstance(command, str) and command.endswith((".sh", ".bash")):
            raise NotSelfContained(f"runs the script file {command.split()[-1]}")
        return self._shell(command, str(command))

    def command_steps(self) -> list[CarriedStep]:
        """The function of a ``@task.bash`` task, and the command that it returns."""
        first = f"{self.name[: 64 - len(_COMMAND)]}{_COMMAND}"
        command = Get("Steps", (Member(first), Member(RETURN_VALUE)))
        function = self.python_step(name=first)
        called = function.function
        source = f"{called.module or called.code}{function.arguments}"
        return [function, self._shell(command, source, templated=is_template(source))]

    def _shell(self, command: Any, source: str, *, templated: bool = False) -> CarriedStep:
        """The step of a command; ``source`` shows what the command may do."""
        operator = self.operator
        if not isinstance(operator.env, Mapping | None):
            raise NotSelfContained("has an environment that is only known at run time")
        arguments = shell_arguments(command, operator.env, operator.append_env)
        options = {**self._shell_options(source), **({"templated": True} if templated else {})}
        if options:
            given = call_arguments((), {**arguments, **options})
            return self.step(_RUN_COMMAND, given, context=templated)
        return ShellStep(self.name, SHELL, self._argument_values(arguments), origin=self.origin)

    def _shell_options(self, source: str) -> dict[str, Any]:
        """The options of a BashOperator that a shell step does not have."""
        operator = self.operator
        given = operator_arguments(operator)
        options: dict[str, Any] = {"cwd": operator.cwd} if operator.cwd else {}
        if (processor := given.get("output_processor")) is json.loads:
            options["as_json"] = True
        elif processor is not None:
            raise NotSelfContained("processes its output (output_processor)")
        is_used = "skip_on_exit_code" in given or _DEFAULT_SKIP(source)
        if is_used and (codes := sorted(operator.skip_on_exit_code)):
            options["skip_on_exit_code"] = codes
        return options

    def _argument_values(self, arguments: Mapping[str, Any]) -> Object:
        found = self.value(arguments)
        assert isinstance(found, Object)
        return found

    def value(self, value: Any, *, templated: bool = True) -> Value:
        """A value of an argument. Raises :class:`NotSelfContained`."""
        try:
            return self.values.of(value, as_template, templated=templated)
        except RunTimeValue as unknown:
            raise NotSelfContained(f"uses {unknown.what}") from None


def _own_name(operator: Any) -> str:
    """A name for a lambda or a method: what the names of the tasks that call it begin with."""
    if (called := _anonymous(operator)) is None:
        return ""
    labels = [label(one) for one in operator.dag.tasks if _anonymous(one) == called]
    start = commonprefix(labels)  # noqa: RUF071 - characters, not parts of a path
    return identifier(start.strip("_-.") or label(operator))


def _anonymous(task: Any) -> Any:
    """What two equal lambdas or methods have in common, if a task calls one; otherwise None."""
    given = getattr(task, "partial_kwargs", None) or vars(task)
    called = given.get("python_callable")
    if inspect.ismethod(called):
        return id(called.__self__), called.__func__
    if getattr(called, "__name__", "") != "<lambda>":
        return None
    return called.__code__, repr(called.__defaults__)
