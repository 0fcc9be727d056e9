"""The operators of a user's own code: a Python function, a shell command.

Their arguments are resolved in ``execute`` and rendered by nobody; what they return is the step's
``return_value``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagebridge.model.code_steps import (
    PYTHON,
    SHELL,
    Function,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.values import EMPTY, Value
from sagebridge_operators.airflow.step_operators import StepOperator
from sagebridge_operators.lifecycle.user_code.function_call import interrupt_here


class PythonStepOperator(StepOperator):
    """Calls ``python_callable``; its value, which has to be JSON, is ``return_value``.

    Args:
        op_args, op_kwargs: may hold ``parameter("X")``, ``other.properties.return_value["rows"]``
            and all else that the arguments of any step may.

    What the function raises fails the step, and is not tried again.
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
            raise TypeError(f"python_callable is a function, which {python_callable!r} is not")
        super().__init__(arguments=call_arguments(op_args, op_kwargs), **kwargs)
        self.python_callable = python_callable
        name = getattr(python_callable, "__name__", "")
        self._step = PythonStep.of(self._step, Function(name, ""))

    def on_kill(self) -> None:
        super().on_kill()
        interrupt_here()


class ShellStepOperator(StepOperator):
    """Runs ``bash_command``; the last line that it prints is ``return_value``.

    Args:
        bash_command: a text, or an expression that makes one. It is run as it is.
        env: all the environment that it has, or with ``append_env`` on top of the worker's, which
            it has where there is no ``env``.
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
