"""Operators for user code: a Python function or a shell command.

Their arguments are resolved in ``execute`` and not rendered by Jinja. The result of the code is the
step's ``return_value``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.functions import Function
from sagebridge.model.values import EMPTY, Value
from sagebridge_operators.airflow.step_operators import StepOperator
from sagebridge_operators.lifecycle.user_code.function_call import interrupt_function


class PythonStepOperator(StepOperator):
    """Calls a Python function; its result is the step's ``return_value``.

    Args:
        python_callable: the function. Its result may contain JSON, dates, paths, dataclasses,
            DataFrames and other values that docs/semantics.md lists.
        op_args, op_kwargs: the arguments of the function. They may contain ``parameter("X")``,
            ``other.properties.return_value["rows"]`` and other expressions.

    If the function raises, the step fails, and ``retries`` calls it again; not after
    AirflowFailException. Other arguments are those of :class:`StepOperator`. Raises TypeError if
    ``python_callable`` is not callable.
    """

    step_type = PYTHON

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Sequence[Value] = (),
        op_kwargs: Mapping[str, Value] = EMPTY,
        **kwargs: Any,
    ) -> None:
        if not callable(python_callable):
            raise TypeError(f"python_callable must be a function, got {python_callable!r}")
        super().__init__(arguments=call_arguments(op_args, op_kwargs), **kwargs)
        self.python_callable = python_callable
        name = getattr(python_callable, "__name__", "")  # a functools.partial has no name
        self._step = PythonStep.of(self._step, Function(name, ""))

    def on_kill(self) -> None:
        super().on_kill()
        interrupt_function()


class ShellStepOperator(StepOperator):
    """Runs a command with bash; the last line that it prints is the step's ``return_value``.

    Args:
        bash_command: a string or an expression. It is not rendered by Jinja.
        env: the environment of the command; by default the worker's environment.
        append_env: add ``env`` to the worker's environment instead of replacing it.

    An exit code other than 0 fails the step, and ``retries`` runs it again. Other arguments are
    those of :class:`StepOperator`.
    """

    step_type = SHELL

    def __init__(
        self,
        *,
        bash_command: Value,
        env: Mapping[str, Value] | None = None,
        append_env: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(arguments=shell_arguments(bash_command, env, append_env), **kwargs)
        self._step = ShellStep.of(self._step)
