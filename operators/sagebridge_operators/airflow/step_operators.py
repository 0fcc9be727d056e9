"""The operators of steps that run one job, make one resource or fail the execution.

No argument is rendered by Jinja: a definition's text is data. References are resolved in
``execute``, and what is sent is shown, with environment values masked, in the rendered view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, Context

from sagebridge.errors import SagebridgeError
from sagebridge.model.expressions import Properties, plain, properties_of, stated
from sagebridge.model.pipeline import (
    CacheConfig,
    OutputParameter,
    PropertyFile,
    RetryPolicy,
    Step,
)
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Value
from sagebridge_operators.airflow import task_links, task_runtime
from sagebridge_operators.lifecycle.step_run import StepRun

Dependency: TypeAlias = "str | Mapping[str, Value] | StepOperator"


class StepOperator(BaseOperator):
    """One step of a SageMaker pipeline.

    Args:
        step_type: the ``Type`` of the definition; the subclasses say it themselves.
        arguments: the step's ``Arguments``; may hold ``parameter("X")``, ``join(…)``,
            ``json_get(…)``, ``other.properties.A.B["c"]``. Each reference makes the other step an
            upstream task.
        step_name: the step's name where it differs from the task id.
        depends_on: names of steps, or their operators, that come first without handing data on.
        backend: ``aws`` or ``local``; else what SAGEBRIDGE_BACKEND says, else ``aws``.
        aws_conn_id, region_name, verify, botocore_config: as in the Amazon provider's operators.
        role_arn: the role of jobs whose arguments name none.

    What a definition says beside steps and parameters is a default argument of the DAG,
    ``definition``: ``{"Metadata": {…}, "PipelineExperimentConfig": {…}}``; so is
    ``pipeline_name`` where the name is no DAG id.

    A task has ``retries=2`` for lost workers only: a retry finds the job that the lost worker
    started. Every verdict on the step (failed, stopped, unresolvable) ends the task at once.
    """

    step_type: ClassVar[str] = ""
    template_fields: Sequence[str] = ("request",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    overwrite_rtif_after_execution = True
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        arguments: Value = ABSENT,
        step_type: str | None = None,
        step_name: str | None = None,
        depends_on: Sequence[Dependency] | Absent = ABSENT,
        retry_policies: Sequence[RetryPolicy] | Absent = ABSENT,
        cache_config: CacheConfig | Absent = ABSENT,
        property_files: Sequence[PropertyFile] | Absent = ABSENT,
        output_parameters: Sequence[OutputParameter] | Absent = ABSENT,
        display_name: str | Absent = ABSENT,
        description: str | Absent = ABSENT,
        extra: Mapping[str, Value] = EMPTY,
        backend: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        role_arn: str | None = None,
        retries: int = 2,
        retry_delay: timedelta | float = timedelta(seconds=10),
        **kwargs: Any,
    ) -> None:
        if display_name is not ABSENT:
            kwargs.setdefault("task_display_name", display_name)
        if description is not ABSENT:
            kwargs.setdefault("doc_md", description)
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.backend = backend
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.role_arn = role_arn
        self.request: Mapping[str, Any] | None = None
        self._killed = False
        self._run: StepRun | None = None
        self._step = Step(
            name=_own_id(self) if step_name is None else step_name,
            type=step_type or self.step_type,
            arguments=stated(task_links.without_dag_params(arguments)),
            depends_on=_dependencies(depends_on),
            retry_policies=_tuple(retry_policies),
            cache=cache_config,
            property_files=_tuple(property_files),
            output_parameters=_tuple(output_parameters),
            display_name=display_name,
            description=description,
            extra=stated(extra),
        )
        task_links.connect(self)

    @property
    def step(self) -> Step:
        """The step of the pipeline model that this task is."""
        return self._step

    @property
    def arguments(self) -> Value:
        """The step's arguments, which it is made with: they cannot be set afterwards."""
        return self._step.arguments

    @property
    def properties(self) -> Properties:
        """What the step makes known once it has run, as ``properties.A.B["c"]``."""
        return properties_of(self._step.name)

    def execute(self, context: Context) -> dict[str, Any]:
        """The step's outputs: job, status and the properties that this pipeline refers to."""
        try:
            self._run = task_runtime.prepare(self, context)
            self._run.killed = self._killed
            outputs = self._run.run()
        except SagebridgeError as error:
            context["ti"].xcom_push(key="failure_reason", value=str(error))
            raise AirflowFailException(str(error)) from error
        except Exception as error:
            if self._run is not None and context["ti"].try_number > context["ti"].max_tries:
                self._run.give_up(error)
                reason = f"{type(error).__name__}: {error}"
                context["ti"].xcom_push(key="failure_reason", value=reason)
            raise
        return outputs

    def on_kill(self) -> None:
        """Lets the lifecycle stop the job; it sees the flag within a fraction of a second."""
        self._killed = True
        if self._run is not None:
            self._run.killed = True


def _own_id(operator: StepOperator) -> str:
    """A task's id without that of its group."""
    group = getattr(operator.task_group, "node_id", None)
    return operator.task_id.removeprefix(f"{group}.") if group else operator.task_id


def _dependencies(
    steps: Sequence[Dependency] | Absent,
) -> tuple[str | Object, ...] | Absent:
    if steps is ABSENT:
        return ABSENT
    if isinstance(steps, str):
        raise TypeError(f"depends_on is a list of steps, found {steps!r}")
    return tuple(
        step.step.name if isinstance(step, StepOperator) else plain(step) for step in steps
    )


def _tuple(items: Any) -> Any:
    return items if items is ABSENT else tuple(items)


class ProcessingOperator(StepOperator):
    """A Processing step: CreateProcessingJob."""

    step_type = "Processing"


class TrainingOperator(StepOperator):
    """A Training step: CreateTrainingJob."""

    step_type = "Training"


class TransformOperator(StepOperator):
    """A Transform step: CreateTransformJob."""

    step_type = "Transform"


class ModelOperator(StepOperator):
    """A Model step: CreateModel."""

    step_type = "Model"


class RegisterModelOperator(StepOperator):
    """A RegisterModel step: CreateModelPackage."""

    step_type = "RegisterModel"


class FailOperator(StepOperator):
    """A Fail step: fails the execution with ``error_message``, and is never retried."""

    step_type = "Fail"

    def __init__(self, *, error_message: Value = ABSENT, **kwargs: Any) -> None:
        if error_message is not ABSENT:
            kwargs["arguments"] = {"ErrorMessage": error_message}
        kwargs.setdefault("retries", 0)
        super().__init__(**kwargs)


class TuningOperator(StepOperator):
    """A Tuning step: CreateHyperParameterTuningJob."""

    step_type = "Tuning"


class AutoMLOperator(StepOperator):
    """An AutoML step: CreateAutoMLJob."""

    step_type = "AutoML"


class EMROperator(StepOperator):
    """An EMR step on a running cluster, or on one that lives as long as the step."""

    step_type = "EMR"


class EMRServerlessOperator(StepOperator):
    """An EMR Serverless job run."""

    step_type = "EMRServerless"


class EndpointConfigOperator(StepOperator):
    """An EndpointConfig step: CreateEndpointConfig."""

    step_type = "EndpointConfig"


class EndpointOperator(StepOperator):
    """An Endpoint step: CreateEndpoint or UpdateEndpoint."""

    step_type = "Endpoint"


class InferenceComponentOperator(StepOperator):
    """An InferenceComponent step: CreateInferenceComponent."""

    step_type = "InferenceComponent"


class LambdaOperator(StepOperator):
    """A Lambda step: invokes ``function_arn`` with the arguments as its event."""

    step_type = "Lambda"

    def __init__(self, *, function_arn: Value = ABSENT, **kwargs: Any) -> None:
        super().__init__(**_with_extra(kwargs, FunctionArn=function_arn))


class CallbackOperator(StepOperator):
    """A Callback step: a message to ``sqs_queue_url``, and a wait for its answer."""

    step_type = "Callback"

    def __init__(self, *, sqs_queue_url: Value = ABSENT, **kwargs: Any) -> None:
        super().__init__(**_with_extra(kwargs, SqsQueueUrl=sqs_queue_url))


class QualityCheckOperator(StepOperator):
    """A QualityCheck step: data or model quality against a baseline."""

    step_type = "QualityCheck"

    def __init__(
        self,
        *,
        check_type: Value = ABSENT,
        skip_check: Value = ABSENT,
        fail_on_violation: Value = ABSENT,
        register_new_baseline: Value = ABSENT,
        model_package_group_name: Value = ABSENT,
        supplied_baseline_statistics: Value = ABSENT,
        supplied_baseline_constraints: Value = ABSENT,
        **kwargs: Any,
    ) -> None:
        members = _with_extra(
            kwargs,
            CheckType=check_type,
            SkipCheck=skip_check,
            FailOnViolation=fail_on_violation,
            RegisterNewBaseline=register_new_baseline,
            ModelPackageGroupName=model_package_group_name,
            SuppliedBaselineStatistics=supplied_baseline_statistics,
            SuppliedBaselineConstraints=supplied_baseline_constraints,
        )
        super().__init__(**members)


class ClarifyCheckOperator(QualityCheckOperator):
    """A ClarifyCheck step: bias of data or model, or explainability, against a baseline."""

    step_type = "ClarifyCheck"

    def __init__(self, *, model_name: Value = ABSENT, **kwargs: Any) -> None:
        super().__init__(**_with_extra(kwargs, ModelName=model_name))


def _with_extra(kwargs: dict[str, Any], **members: Value) -> dict[str, Any]:
    """The arguments with members of one step type among the ``extra`` ones."""
    given = {name: value for name, value in members.items() if value is not ABSENT}
    return {**kwargs, "extra": {**kwargs.get("extra", EMPTY), **given}}


OPERATORS: dict[str, type[StepOperator]] = {
    operator.step_type: operator
    for operator in (
        ProcessingOperator,
        TrainingOperator,
        TransformOperator,
        ModelOperator,
        RegisterModelOperator,
        FailOperator,
        TuningOperator,
        AutoMLOperator,
        EMROperator,
        EMRServerlessOperator,
        EndpointConfigOperator,
        EndpointOperator,
        InferenceComponentOperator,
        LambdaOperator,
        CallbackOperator,
        QualityCheckOperator,
        ClarifyCheckOperator,
    )
}
