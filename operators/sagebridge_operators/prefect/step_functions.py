"""The functions that a flow says its steps with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagebridge.authoring.pipeline_builder import ConditionHandle, StepHandle
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS, own_arguments, show_arguments
from sagebridge.model.conditions import Condition
from sagebridge.model.step_types import OPERATOR_TYPES, StepType
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value
from sagebridge_operators.prefect.flow_run import current

_ARGUMENTS = """

Args:
    name: the step's name, which its task run gets.
    arguments: the step's ``Arguments``; may hold ``parameter("X")``, ``join(…)``,
        ``json_get(…)``, ``other.properties.A.B["c"]``. Each reference makes the step wait for
        the other one.
    depends_on: steps, or their names, that come first without handing data on.
    backend: ``aws`` or ``local``; default: that of ``begin``, SAGEBRIDGE_BACKEND, or ``aws``.
    aws_credentials: an AwsCredentials block, or its name; default: boto3's own chain.
    role_arn: the role of jobs whose arguments name none.
    own: other settings, and members of this step type, such as ``function_arn`` of a Lambda.
"""


def _function(row: StepType) -> Callable[..., StepHandle]:
    """``processing("Name", arguments={…})``: one step of the flow, of the type of ``row``."""

    @show_arguments(*STEP_ARGUMENTS, *own_arguments(row.members))
    def add(name: str, **own: Any) -> StepHandle:
        return current().step(row.name, name, **own)

    add.__name__ = add.__qualname__ = row.function
    add.__doc__ = row.summary + _ARGUMENTS
    return add


FUNCTIONS = {
    row.function: _function(row) for row in OPERATOR_TYPES.values() if row.name != "Condition"
}
globals().update(FUNCTIONS)


def condition(
    name: str, *, conditions: Sequence[Condition] | Absent = ABSENT, **more: Any
) -> ConditionHandle:
    """A Condition: steps made in ``with check.met():`` run where all ``conditions`` hold."""
    check = current().step("Condition", name, conditions=conditions, **more)
    assert isinstance(check, ConditionHandle)
    return check


def step(type: str, name: str, **arguments: Any) -> StepHandle:
    """A step of a type that has no function of its own; it is kept, and fails when it is run."""
    return current().step(type, name, **arguments)


def python(
    name: str,
    function: Callable[..., Any],
    *,
    args: Sequence[Value] = (),
    kwargs: Mapping[str, Value] = EMPTY,
    **more: Any,
) -> StepHandle:
    """A step that calls a function of the file; ``.properties.return_value`` is what it returns.

    ``args`` and ``kwargs`` may hold what the ``arguments`` of any step may, and are resolved when
    the step runs. What it returns has to be JSON.
    """
    return current().python(name, function, args=args, kwargs=kwargs, **more)


def shell(
    name: str,
    command: Value,
    *,
    env: Mapping[str, Value] | None = None,
    append_env: bool = False,
    **more: Any,
) -> StepHandle:
    """A step that runs a command with bash; ``.properties.return_value`` is its last line.

    ``env`` is all the environment that it has, or with ``append_env`` comes on top of the worker's,
    which it has where there is no ``env``.
    """
    return current().shell(name, command, env=env, append_env=append_env, **more)


def begin(
    *,
    definition: Mapping[str, Value] = EMPTY,
    pipeline: Mapping[str, Value] = EMPTY,
    backend: str | None = None,
    aws_credentials: Any = None,
    region_name: str | None = None,
    role_arn: str | None = None,
) -> None:
    """What is so for all steps, and what the pipeline says beside its steps and parameters.

    ``definition`` and ``pipeline`` hold members of a definition and of a CreatePipeline request, by
    AWS's names.
    """
    current().begin(
        definition=definition,
        pipeline=pipeline,
        backend=backend,
        aws_credentials=aws_credentials,
        region_name=region_name,
        role_arn=role_arn,
    )


def finish() -> Any:
    """Runs the steps and returns what the flow has to return: a summary, or its failed state.

    The state's message is the message of the Fail step that was reached, else the first failed
    step's reason.
    """
    return current().finish()
