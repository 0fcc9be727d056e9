"""The operators of the Amazon provider and the standard provider that do what a step does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sagebridge.authoring.request_shapes import request_shape
from sagebridge.formats.airflow.native.templates import Templates, Unsayable
from sagebridge.formats.airflow.task_values import is_template
from sagebridge.model.conditions import Comparison, Condition, In, Not, Or
from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge.model.values import ABSENT, EMPTY, Value, thaw
from sagebridge.model.visit import rebuild

SAGEMAKER = "airflow.providers.amazon.aws.operators.sagemaker"
LAMBDA = "airflow.providers.amazon.aws.operators.lambda_function"
EMR = "airflow.providers.amazon.aws.operators.emr"
PYTHON = "airflow.providers.standard.operators.python"
_UNIQUE = "{{ (ti.id | string)[-12:] }}"
"""Airflow has an id for each try, so each try starts its own job."""
_LONGEST_NAME = {"HyperParameterTuningJobName": 32, "AutoMLJobName": 32}
_CLUSTER = ("ProcessingResources", "ClusterConfig")
_RUNTIME = ("StoppingCondition", "MaxRuntimeInSeconds")


class Operator(NamedTuple):
    """A call of an operator.

    Attributes:
        name, module: the class.
        arguments: its keyword arguments; templates are strings.
        function: the function of a PythonOperator.
    """

    name: str
    module: str
    arguments: Mapping[str, Value]
    function: str = ""


@dataclass(frozen=True, slots=True)
class ConfigOperator:
    """An operator whose ``config`` is the request of a step.

    Attributes:
        name: the class.
        job_name: the field with the name of the job, which a pipeline generates; None if the step
            states it.
        numbers: the fields that the operator turns into integers (``_create_integer_fields``).
        arguments: other arguments that it always has.
    """

    name: str
    job_name: str | None = None
    numbers: tuple[tuple[str, ...], ...] = ()
    arguments: Mapping[str, Value] = EMPTY

    def of(self, step: Step, templates: Templates) -> Operator:
        shape = request_shape(step.type)
        found = templates.value(step.arguments, shape, self.numbers)
        config = thaw(found) if isinstance(found, Mapping) else {}
        if self.job_name is not None:
            prefix = config.pop(self.job_name, _name_part(step.name))
            config = {self.job_name: _name(str(prefix), self.job_name), **config}
        more: dict[str, Value] = {}
        if step.property_files:
            more["output_files_to_xcom"] = [
                {
                    "result_name": one.name,
                    "output_name": one.output_name,
                    "file_name": one.file_path,
                }
                for one in step.property_files
            ]
        return Operator(self.name, SAGEMAKER, {"config": config, **more, **self.arguments})


def _name_part(step: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", step).strip("-") or "step"


def _name(prefix: str, field: str) -> str:
    """The name of a job; SageMaker, too, adds to a name in a definition, so that each is new."""
    if not is_template(prefix):
        prefix = prefix[: _LONGEST_NAME.get(field, 63) - 13].rstrip("-")
    return f"{prefix}-{_UNIQUE}"


def _register(step: Step, templates: Templates) -> Operator:
    request = templates.value(step.arguments, request_shape(step.type))
    return _call("register_model", request=request)


def _fail(step: Step, templates: Templates) -> Operator:
    arguments = step.arguments if isinstance(step.arguments, Mapping) else EMPTY
    return _call("fail", message=templates.text(arguments.get("ErrorMessage", "")))


def _call(function: str, **arguments: Value) -> Operator:
    return Operator("PythonOperator", PYTHON, {"op_kwargs": arguments}, function)


def _invoke(step: Step, templates: Templates) -> Operator:
    function = step.extra.get("FunctionArn")
    if function is None:
        raise Unsayable("a Lambda step without FunctionArn")
    arguments = {"function_name": templates.text(function)}
    if step.arguments is not ABSENT:
        arguments["payload"] = templates.json(step.arguments)
    return Operator("LambdaInvokeFunctionOperator", LAMBDA, arguments)


def _emr(step: Step, templates: Templates) -> Operator:
    match templates.value(step.arguments):
        case {"ClusterId": cluster, "StepConfig": {"HadoopJarStep": jar}, **rest} if not rest:
            jar = rebuild(jar, _not_a_file)
            config = {"Name": step.name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
            arguments = {"job_flow_id": cluster, "steps": [config], "wait_for_completion": True}
            return Operator("EmrAddStepsOperator", EMR, arguments)
    raise Unsayable("an EMR step with its own cluster")


def _not_a_file(value: Value) -> Value:
    """EmrAddStepsOperator reads a template from a file if a string ends with ``.json``.

    See its ``template_ext``, and ``AbstractOperator.render_template`` of Airflow.
    """
    is_read = isinstance(value, str) and value.endswith(".json")
    return f"{value}{{{{ '' }}}}" if is_read else value


_TABLE: Mapping[str, ConfigOperator | Callable[[Step, Templates], Operator]] = {
    "Processing": ConfigOperator(
        "SageMakerProcessingOperator",
        "ProcessingJobName",
        ((*_CLUSTER, "InstanceCount"), (*_CLUSTER, "VolumeSizeInGB"), _RUNTIME),
    ),
    "Training": ConfigOperator(
        "SageMakerTrainingOperator",
        "TrainingJobName",
        (("ResourceConfig", "InstanceCount"), ("ResourceConfig", "VolumeSizeInGB"), _RUNTIME),
    ),
    "Transform": ConfigOperator(
        "SageMakerTransformOperator",
        "TransformJobName",
        (
            ("TransformResources", "InstanceCount"),
            ("MaxConcurrentTransforms",),
            ("MaxPayloadInMB",),
        ),
    ),
    "Tuning": ConfigOperator(
        "SageMakerTuningOperator",
        "HyperParameterTuningJobName",
        (
            ("HyperParameterTuningJobConfig", "ResourceLimits", "MaxNumberOfTrainingJobs"),
            ("HyperParameterTuningJobConfig", "ResourceLimits", "MaxParallelTrainingJobs"),
            ("TrainingJobDefinition", "ResourceConfig", "InstanceCount"),
            ("TrainingJobDefinition", "ResourceConfig", "VolumeSizeInGB"),
            ("TrainingJobDefinition", *_RUNTIME),
        ),
    ),
    "Model": ConfigOperator("SageMakerModelOperator", "ModelName"),
    "EndpointConfig": ConfigOperator(
        "SageMakerEndpointConfigOperator",
        numbers=(("ProductionVariants", "InitialInstanceCount"),),
    ),
    "Endpoint": ConfigOperator("SageMakerEndpointOperator"),
    "RegisterModel": _register,
    "Fail": _fail,
    "Lambda": _invoke,
    "EMR": _emr,
}
TYPES = frozenset((*_TABLE, "Condition"))
"""The step types that a native DAG can have."""


def operator_of(step: Step, templates: Templates) -> Operator:
    """The operator of a step. Raises :class:`Unsayable`."""
    if isinstance(step, ConditionStep):
        return _condition(step, templates)
    if step.type not in _TABLE:
        raise Unsayable(f"a {step.type} step")
    if any(trigger != COMPLETED for _, trigger in step.triggers):
        raise Unsayable("a dependency on the failure or end of a step")
    row = _TABLE[step.type]
    return row.of(step, templates) if isinstance(row, ConfigOperator) else row(step, templates)


def stub(reason: str) -> Operator:
    """A task in place of a step that no operator has: it fails with the reason."""
    return _call("fail", message=reason)


def _condition(step: ConditionStep, templates: Templates) -> Operator:
    conditions = [_one_condition(one, templates) for one in step.conditions or ()]
    if not conditions:
        raise Unsayable("a condition without comparisons")
    return Operator("SageMakerConditionOperator", SAGEMAKER, {"conditions": conditions})


def _one_condition(condition: Condition, templates: Templates) -> Value:
    match condition:
        case Comparison(type_, left, right):
            sides = {"left_value": templates.value(left), "right_value": templates.value(right)}
            return {"type": type_, **sides}
        case In(query, values):
            among = [templates.value(one) for one in values]
            return {"type": "In", "value": templates.value(query), "in_values": among}
        case Not(inner):
            return {"type": "Not", "condition": _one_condition(inner, templates)}
        case Or(several):
            return {"type": "Or", "conditions": [_one_condition(one, templates) for one in several]}
    raise Unsayable("an unknown condition")
