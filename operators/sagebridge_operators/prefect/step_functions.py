"""The functions that a flow says its steps with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagebridge.authoring.pipeline_builder import ConditionHandle, StepHandle
from sagebridge.model.conditions import Condition
from sagebridge.model.pipeline import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value
from sagebridge_operators.prefect.flow_run import current


@dataclass(frozen=True, slots=True)
class StepFunction:
    """``processing("Name", arguments={…})``: one step of the flow, of type ``type``.

    Args:
        name: the step's name, which its task run gets.
        arguments: the step's ``Arguments``; may hold ``parameter("X")``, ``join(…)``,
            ``json_get(…)``, ``other.properties.A.B["c"]``. Each reference makes the step wait for
            the other one.
        depends_on: steps, or their names, that come first without handing data on.
        backend: ``aws`` or ``local``; else what ``begin`` or SAGEBRIDGE_BACKEND says, else ``aws``.
        aws_credentials: an AwsCredentials block, or its name; else boto3's own chain.
        role_arn: the role of jobs whose arguments name none.
        own: members of this step type, as ``function_arn`` of a Lambda.
    """

    type: str

    def __call__(
        self,
        name: str,
        *,
        depends_on: Sequence[str | StepHandle | Mapping[str, Value]] | Absent = ABSENT,
        retry_policies: Sequence[RetryPolicy] | Absent = ABSENT,
        cache_config: CacheConfig | Absent = ABSENT,
        property_files: Sequence[PropertyFile] | Absent = ABSENT,
        output_parameters: Sequence[OutputParameter] | Absent = ABSENT,
        display_name: str | Absent = ABSENT,
        description: str | Absent = ABSENT,
        extra: Mapping[str, Value] = EMPTY,
        **own: Any,
    ) -> StepHandle:
        return current().step(
            self.type,
            name,
            depends_on=depends_on,
            retry_policies=retry_policies,
            cache_config=cache_config,
            property_files=property_files,
            output_parameters=output_parameters,
            display_name=display_name,
            description=description,
            extra=extra,
            **own,
        )


processing = StepFunction("Processing")
training = StepFunction("Training")
tuning = StepFunction("Tuning")
auto_ml = StepFunction("AutoML")
model = StepFunction("Model")
register_model = StepFunction("RegisterModel")
transform = StepFunction("Transform")
fail = StepFunction("Fail")
lambda_ = StepFunction("Lambda")
callback = StepFunction("Callback")
clarify_check = StepFunction("ClarifyCheck")
quality_check = StepFunction("QualityCheck")
emr = StepFunction("EMR")
emr_serverless = StepFunction("EMRServerless")
endpoint = StepFunction("Endpoint")
endpoint_config = StepFunction("EndpointConfig")
inference_component = StepFunction("InferenceComponent")


def condition(
    name: str, *, conditions: Sequence[Condition] | Absent = ABSENT, **more: Any
) -> ConditionHandle:
    """A Condition: steps made in ``with check.met():`` run where all ``conditions`` hold."""
    check = StepFunction("Condition")(name, conditions=conditions, **more)
    assert isinstance(check, ConditionHandle)
    return check


def step(type: str, name: str, **arguments: Any) -> StepHandle:
    """A step of a type that has no function of its own; it is kept, and fails when it is run."""
    return StepFunction(type)(name, **arguments)


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
