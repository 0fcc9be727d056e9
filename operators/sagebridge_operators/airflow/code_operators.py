"""Operators for user code: a Python function or a shell command.

Their arguments are resolved in ``execute`` and not rendered by Jinja. The result of the code is the
step's ``return_value``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagebridge.authoring.dag_pipeline import steps_of
from sagebridge.model.code_steps import (
    BRANCH,
    DIRECT_GATE,
    GATE,
    PYTHON,
    SHELL,
    PythonStep,
    ShellStep,
    call_arguments,
    shell_arguments,
)
from sagebridge.model.functions import Function
from sagebridge.model.values import ABSENT, EMPTY, Value
from sagebridge_operators.airflow._compat import Context, SkipMixin, skip
from sagebridge_operators.airflow.step_operators import StepOperator
from sagebridge_operators.lifecycle.user_code.function_call import interrupt_function


class PythonStepOperator(StepOperator, SkipMixin):
    """Calls a Python function; its result is the step's ``return_value``.

    Args:
        python_callable: the function. Its result may contain JSON, dates, paths, dataclasses,
            DataFrames and other values that docs/semantics.md lists.
        op_args, op_kwargs: the arguments of the function. They may contain ``parameter("X")``,
            ``other.properties.return_value["rows"]`` and other expressions.
        unpacked: an expression of a dict, which is merged into ``op_kwargs``.
        role: what the result decides: ``branch`` (the names of the direct dependants that run),
            ``gate`` (a false one skips all tasks below), ``direct_gate`` (a false one skips the
            direct dependants) or ``sensor`` (the function is called until it is true).
        context: whether Airflow's context fills the function's parameters of the same names.
        poke_interval, timeout, exponential_backoff, soft_fail: of a sensor, as in Airflow.

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
        unpacked: Value = ABSENT,
        role: str = "",
        context: bool = False,
        **kwargs: Any,
    ) -> None:
        if not callable(python_callable):
            raise TypeError(f"python_callable must be a function, got {python_callable!r}")
        arguments = call_arguments(op_args, op_kwargs)
        if unpacked is not ABSENT:
            arguments["unpacked"] = unpacked
        super().__init__(arguments=arguments, **kwargs)
        self.python_callable = python_callable
        name = getattr(python_callable, "__name__", "")  # a functools.partial has no name
        self._step = PythonStep.of(self._step, Function(name, ""), role=role, context=context)

    @property
    def inherits_from_skipmixin(self) -> bool:
        """Whether the task skips others, as BranchMixIn in airflow/sdk/bases/branch.py."""
        step: Any = self._step
        return step.role in (BRANCH, GATE, DIRECT_GATE)

    def execute(self, context: Context) -> dict[str, Any]:
        """Skips the tasks that the result skips. Returns or raises as StepOperator does."""
        # Imported here: parsing a DAG does not need it.
        from sagebridge_operators.airflow.code_run import in_code_context

        with in_code_context(context):
            outputs = self.run_step(context)
        if skips := outputs.get("skips"):
            # skip() raises; see ConditionOperator.execute.
            for key, value in {**outputs, "return_value": outputs}.items():
                context["ti"].xcom_push(key=key, value=value)
            steps = steps_of(self.dag)
            skip(self, context, [steps[name].entry for name in skips])
        return outputs

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
