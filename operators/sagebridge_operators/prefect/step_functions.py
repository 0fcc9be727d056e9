"""The functions with which a flow declares its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagebridge.authoring.pipeline_builder import ConditionHandle, ForEachHandle, StepHandle
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS, own_arguments, show_arguments
from sagebridge.model.conditions import Condition
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.for_each import Selector
from sagebridge.model.schedules import Schedule
from sagebridge.model.step_types import OPERATOR_TYPES, StepType
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value
from sagebridge_operators.prefect.flow_run import current

_ARGUMENTS = """

Args:
    name: the name of the step and of its task run.
    arguments: the step's ``Arguments``, which follow the request of the SageMaker API operation
        (for example CreateTrainingJob). They may contain ``parameter("X")``, ``join(…)``,
        ``json_get(…)`` and ``other.properties.A.B["c"]``. Each reference makes the other step a
        dependency.
    depends_on: steps, or their names, that must succeed first.
    backend: ``aws`` or ``local``; default: that of ``begin``, SAGEBRIDGE_BACKEND, or ``aws``.
    aws_credentials: an AwsCredentials block (prefect-aws), or its name; default: boto3's
        credential chain.
    role_arn: the role of jobs whose arguments have none.
    retries: how often a failed job or function is started again; default: 0. Lost workers are not
        counted. A step that was stopped, or whose request was rejected, is not retried.
    retry_delay_seconds: as in Prefect's ``@task``: seconds, a list of them, or
        ``exponential_backoff(…)``.
    own: other settings, and keys of this step type, such as ``function_arn`` of a Lambda step.

Returns a handle; ``handle.properties`` refers to the step's run-time properties. Raises UsageError
outside a flow.
"""


def _function(row: StepType) -> Callable[..., StepHandle]:
    """Creates the function of a step type, such as ``processing("Name", arguments={…})``."""

    @show_arguments(*STEP_ARGUMENTS, *own_arguments(row.members))
    def add(name: str, **own: Any) -> StepHandle:
        return current().step(row.name, name, **own)

    add.__name__ = add.__qualname__ = row.function
    add.__doc__ = row.summary + _ARGUMENTS
    return add


FUNCTIONS = {
    row.function: _function(row)
    for row in OPERATOR_TYPES.values()
    if row.name not in ("Condition", "ForEach")
}
globals().update(FUNCTIONS)


def condition(
    name: str, *, conditions: Sequence[Condition] | Absent = ABSENT, **more: Any
) -> ConditionHandle:
    """Declares a Condition step.

    Steps declared in ``with check.met():`` run if all ``conditions`` hold; those in
    ``with check.unmet():`` run otherwise.
    """
    check = current().step("Condition", name, conditions=conditions, **more)
    assert isinstance(check, ConditionHandle)
    return check


def for_each(
    name: str,
    *,
    items: Value = ABSENT,
    max_concurrency: Value = ABSENT,
    selector: Selector | Absent = ABSENT,
    **more: Any,
) -> ForEachHandle:
    """Declares a ForEach step. Steps declared in ``with fan.body():`` run once for each item.

    Args:
        name: the name of the step.
        items: a list of at most 100 scalars and references, or a reference to a string that
            contains a JSON list. In the body, ``current_item`` refers to the item. With a body of
            code: a list of any JSON.
        max_concurrency: how many iterations run at the same time: 1 to 50.
        selector: ``max_by(…)`` or ``min_by(…)`` of an ``iteration_output``: the iteration whose
            outputs are ``fan.properties.Selected``.
        more: as in the other step functions.
    """
    given = {"items": items, "max_concurrency": max_concurrency, "selector": selector}
    fan = current().step("ForEach", name, **given, **more)
    assert isinstance(fan, ForEachHandle)
    return fan


def step(type: str, name: str, **arguments: Any) -> StepHandle:
    """Declares a step of a type without its own function. It fails when it runs."""
    return current().step(type, name, **arguments)


def python(
    name: str,
    function: Callable[..., Any],
    *,
    args: Sequence[Value] = (),
    kwargs: Mapping[str, Value] = EMPTY,
    unpacked: Value = ABSENT,
    role: str = "",
    context: bool = False,
    **more: Any,
) -> StepHandle:
    """Declares a step that calls a function; ``.properties.return_value`` is its result.

    ``args`` and ``kwargs`` may contain the same expressions as the ``arguments`` of other steps,
    and ``template("{{ ds }}")``; they are resolved when the step runs. A result must be JSON, or a
    date, path, dataclass, DataFrame and the like.

    Args:
        name: the name of the step and of its task run.
        function: a function of this file; it may be async.
        args: its positional arguments.
        kwargs: its keyword arguments.
        unpacked: a dict of more keyword arguments, such as an item of ``for_each``.
        role: ``branch``: the result has the names of the dependants that run. ``gate``: a false
            result skips everything after the step; ``direct_gate``: only the dependants.
            ``sensor``: the function is called every ``poll_interval`` seconds until its result is
            true, for ``poll_timeout`` seconds.
        context: fill the parameters that Airflow's context has, such as ``ds`` and ``ti``;
            ``**kwargs`` gets the whole context.
        more: as in the other step functions; also engine settings such as ``timeout_seconds``,
            ``trigger_rule`` and ``on_failure`` (see docs/prefect.md).
    """
    more |= {"unpacked": unpacked, "role": role, "context": context}
    return current().python(name, function, args=args, kwargs=kwargs, **more)


def shell(
    name: str,
    command: Value,
    *,
    env: Mapping[str, Value] | None = None,
    append_env: bool = False,
    **more: Any,
) -> StepHandle:
    """Declares a step that runs a command with bash.

    ``.properties.return_value`` is the last line that the command prints. ``env`` is its whole
    environment; with ``append_env`` it is added to the worker's environment. Without ``env`` the
    command has the worker's environment.
    """
    return current().shell(name, command, env=env, append_env=append_env, **more)


def aws_call(
    name: str,
    service: str,
    operation: str = "",
    *,
    request: Mapping[str, Value] | None = None,
    before: Sequence[Mapping[str, Value]] = (),
    ignore: Sequence[str] = (),
    result: str = "",
    fails: str = "",
    wait: Mapping[str, Value] | None = None,
    stop: Mapping[str, Value] | None = None,
    **more: Any,
) -> StepHandle:
    """Declares a step that calls an AWS API, and can wait for what it starts.

    ``.properties.return_value`` is the ``result``, a JMESPath expression on the answer.
    ``service`` is boto3's name of the service; ``operation`` and the keys of ``request`` are the
    API's. ``wait`` is the call that is repeated until its ``status`` is one of ``success`` or
    ``failure``; ``stop`` is the call that stops what was started. Without an operation the step
    only waits. docs/aws-calls.md describes all keys.
    """
    call = {"request": request, "before": before, "ignore": ignore, "result": result}
    call |= {"fails": fails, "wait": wait, "stop": stop}
    return current().aws_call(name, service, operation, **call, **more)


def stub(
    name: str,
    reason: str,
    *,
    dropped_from: str = "",
    source: Sequence[str] = (),
    **more: Any,
) -> StepHandle:
    """Declares a stub: a step in the place of a task that a translation dropped.

    It fails when it runs, with ``reason`` and ``dropped_from``, the location of the task.
    ``source`` has lines of the task's source. Replace it with a step that does the work.
    """
    return current().stub(name, reason, dropped_from=dropped_from, source=source, **more)


def begin(
    *,
    definition: Mapping[str, Value] = EMPTY,
    pipeline: Mapping[str, Value] = EMPTY,
    schedules: Sequence[Schedule] = (),
    event_triggers: Sequence[EventTrigger] = (),
    backend: str | None = None,
    aws_credentials: Any = None,
    region_name: str | None = None,
    role_arn: str | None = None,
    retries: int | None = None,
    retry_delay_seconds: Any = None,
    **more: Any,
) -> None:
    """Sets defaults for all steps, and other properties of the pipeline.

    Args:
        definition: keys of the definition next to its steps and parameters, by AWS's names.
        pipeline: fields of the CreatePipeline request, by AWS's names.
        schedules: when executions start; ``sagebridge deploy`` gives them to the deployment.
        event_triggers: events that start executions, likewise.
        backend: ``aws`` or ``local``.
        aws_credentials: an AwsCredentials block (prefect-aws), or its name.
        region_name: the AWS region.
        role_arn: the role of jobs whose arguments have none.
        retries: how often failed steps are started again.
        retry_delay_seconds: the time before each retry, as in the step functions.
        more: settings of the flow that are not options of ``@flow``: ``tags``, ``doc``,
            ``concurrency`` (how many runs), and callbacks that were written for Airflow, such as
            ``on_failure_callback``.
    """
    current().begin(
        definition=definition,
        pipeline=pipeline,
        schedules=schedules,
        event_triggers=event_triggers,
        backend=backend,
        aws_credentials=aws_credentials,
        region_name=region_name,
        role_arn=role_arn,
        retries=retries,
        retry_delay_seconds=retry_delay_seconds,
        **more,
    )


def finish() -> Any:
    """Runs the declared steps. The flow must return the result.

    Every flow ends with ``return finish()``. The result is ``{"execution": id, "steps": {name:
    state}}`` after a success, otherwise a failed or cancelled Prefect state. The message of that
    state is the message of the Fail step that ran, otherwise the reason of the first failed step.
    """
    return current().finish()
