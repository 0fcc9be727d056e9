"""Operators of Airflow's Amazon provider as steps.

Each is known by its class's name; what its ``execute`` sends is what the step's arguments are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sagebridge.formats.airflow.payload import arguments_of
from sagebridge.formats.airflow.values import (
    RETURN_VALUE,
    Ask,
    Output,
    Part,
    Unsayable,
    Values,
    is_template,
    json_path,
    tokens_of,
)
from sagebridge.model.expressions import (
    Get,
    Member,
    json_get,
    properties_of,
)
from sagebridge.model.losses import Severity
from sagebridge.model.names import shown
from sagebridge.model.pipeline import PropertyFile, Step
from sagebridge.model.values import ABSENT, Object, Value

PACKAGE = "airflow.providers.amazon.aws.operators."
_ARTIFACTS = "/output/model.tar.gz"


class Undoable(Exception):
    """An operator that no step can stand for."""


class Report(Protocol):
    def __call__(self, code: str, severity: Severity, what: str, advice: str = "") -> None: ...


@dataclass(slots=True)
class Task:
    """One operator to be read: the step's name, how its values are read and losses told."""

    operator: Any
    name: str
    values: Values
    ask: Ask
    report: Report
    names: Mapping[tuple[str, str], Get]

    def value(self, value: Any, integers: Sequence[str] = ()) -> Value:
        return self.values.of(value, self.ask, integers=frozenset(integers))

    def request(self, config: Any, job_name: str | None, integers: Sequence[str] = ()) -> Object:
        """An operator's ``config`` as a step's arguments: without the name that SageMaker makes.

        Raises :class:`Undoable` where it is known only when the DAG runs.
        """
        if not isinstance(config, Mapping):
            raise Undoable("its config is known only when the DAG runs")
        left = dict(config)
        if left.pop("S3Operations", None) is not None:
            what = "S3Operations, which Airflow does before the job, are not done"
            self.report("s3-operations", "dropped", what, "make them a step")
        if job_name is not None and job_name in left:
            what = f"{job_name} {shown(left.pop(job_name))} is not kept: SageMaker makes the name"
            self.report("job-name", "info", what)
        self._check_role(left)
        found = self.value(self._linked(left), integers)
        assert isinstance(found, Object)
        return found

    def _check_role(self, config: Mapping[str, Any]) -> None:
        for member in ("RoleArn", "ExecutionRoleArn"):
            role = config.get(member)
            if isinstance(role, str) and not is_template(role) and not role.startswith("arn:"):
                what = f"{member} {shown(role)} is a name, of which Airflow makes an ARN"
                self.report("role-name", "changed", what, "write the role's ARN")

    def _linked(self, config: Any, member: str = "") -> Any:
        """A config in which the name of what another task makes is a reference to that step."""
        if isinstance(config, Mapping):
            return {name: self._linked(item, str(name)) for name, item in config.items()}
        if isinstance(config, list | tuple):
            return [self._linked(item) for item in config]
        if not isinstance(config, str):
            return config
        if (member, config) in self.names:
            return self.names[member, config]
        if ("S3ModelArtifacts", config) in self.names:
            return self.names["S3ModelArtifacts", config]
        for (kind, name), made in self.names.items():
            if kind in JOB_NAMES and made.name != self.name and _names(config, name):
                what = f"{shown(config)} has the job name {shown(name)}, which SageMaker changes"
                advice = f"refer to a property of {made.name}"
                self.report("job-name", "changed", what, advice)
        return config


JOB_NAMES = frozenset(("TrainingJobName", "ProcessingJobName", "TransformJobName"))


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


Builder: TypeAlias = Callable[[Task], list[Step]]


@dataclass(frozen=True, slots=True)
class Kind:
    """An operator class: how it is built, the arguments that are read, what its XCom wraps."""

    build: Builder
    reads: tuple[str, ...] = ("config",)
    outputs: Callable[[Any, str], Output] | None = None
    names: Callable[[Any, str], Iterator[tuple[str, str, Get]]] | None = None


def described(**members: tuple[str, Any]) -> Output:
    """XComs of Describe responses, each under a member of its own: (step, the request's config)."""

    def output(key: str, path: tuple[Part, ...]) -> Value:
        parts = path if key == RETURN_VALUE else (key, *path)
        if len(parts) < 2 or parts[0] not in members:
            raise Unsayable("xcom", "an XCom that has no place in the step's properties")
        step, config = members[str(parts[0])]
        return Get("Steps", (Member(step), *tokens_of(config, parts[1:])))

    return output


def under(step: str, *members: str, rest: bool = True) -> Output:
    """An XCom that is a property of the step, ``rest`` of the path inside it."""

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key != RETURN_VALUE or (path and not rest):
            raise Unsayable("xcom", "an XCom that has no place in the step's properties")
        return Get("Steps", (Member(step), *map(Member, members), *tokens_of(None, path)))

    return output


def name_of(config: Any, member: str) -> str:
    """The text of a name in a config; empty where it is none."""
    found = config.get(member) if isinstance(config, Mapping) else None
    return found if isinstance(found, str) else ""


# One job or resource, its request in ``config``


@dataclass(frozen=True, slots=True)
class Simple:
    """A step type whose request is ``config``; ``wrapper`` is the member of its XCom."""

    type: str
    job_name: str | None
    wrapper: str
    integers: tuple[str, ...] = ()

    def build(self, task: Task) -> list[Step]:
        request = task.request(task.operator.config, self.job_name, self.integers)
        return [Step(task.name, self.type, arguments=request)]

    def outputs(self, operator: Any, name: str) -> Output:
        return described(**{self.wrapper: (name, operator.config)})

    def names(self, operator: Any, name: str) -> Iterator[tuple[str, str, Get]]:
        properties = properties_of(name)
        own = self.job_name or "EndpointConfigName"
        text = name_of(operator.config, own)
        if text and self.type in ("Model", "EndpointConfig", "Processing", "Training"):
            yield own, text, getattr(properties, own)._get
        if text and self.type == "Training":
            root = name_of(operator.config.get("OutputDataConfig"), "S3OutputPath").rstrip("/")
            artifacts = properties.ModelArtifacts.S3ModelArtifacts._get
            yield "S3ModelArtifacts", f"{root}/{text}{_ARTIFACTS}", artifacts


PROCESSING = Simple(
    "Processing",
    "ProcessingJobName",
    "Processing",
    (
        "ProcessingResources.ClusterConfig.InstanceCount",
        "ProcessingResources.ClusterConfig.VolumeSizeInGB",
        "StoppingCondition.MaxRuntimeInSeconds",
    ),
)
TRAINING = Simple(
    "Training",
    "TrainingJobName",
    "Training",
    (
        "ResourceConfig.InstanceCount",
        "ResourceConfig.VolumeSizeInGB",
        "StoppingCondition.MaxRuntimeInSeconds",
    ),
)
TUNING = Simple(
    "Tuning",
    "HyperParameterTuningJobName",
    "Tuning",
    (
        "HyperParameterTuningJobConfig.ResourceLimits.MaxNumberOfTrainingJobs",
        "HyperParameterTuningJobConfig.ResourceLimits.MaxParallelTrainingJobs",
        "TrainingJobDefinition.ResourceConfig.InstanceCount",
        "TrainingJobDefinition.ResourceConfig.VolumeSizeInGB",
        "TrainingJobDefinition.StoppingCondition.MaxRuntimeInSeconds",
    ),
)
MODEL = Simple("Model", "ModelName", "Model")
ENDPOINT_CONFIG = Simple(
    "EndpointConfig", None, "EndpointConfig", ("ProductionVariants.InitialInstanceCount",)
)
_TRANSFORM_INTEGERS = (
    "TransformResources.InstanceCount",
    "MaxConcurrentTransforms",
    "MaxPayloadInMB",
)


def _processing(task: Task) -> list[Step]:
    (step,) = PROCESSING.build(task)
    files = task.operator.output_files_to_xcom
    if not files:
        return [step]
    found = []
    for file in files:
        parts = [file.get(name) for name in ("result_name", "output_name", "file_name")]
        if not all(isinstance(part, str) and not is_template(part) for part in parts):
            raise Undoable("its output_files_to_xcom are known only when the DAG runs")
        found.append(PropertyFile(*parts))
    what = "a file of output_files_to_xcom that is missing fails the step that reads it"
    task.report("output-file", "info", what)
    return [
        Step(step.name, step.type, arguments=step.arguments, property_files=tuple(found)),
    ]


def _processing_outputs(operator: Any, name: str) -> Output:
    job = PROCESSING.outputs(operator, name)

    def output(key: str, path: tuple[Part, ...]) -> Value:
        match path if key == RETURN_VALUE else (key, *path):
            case ("OutputFiles", str(file), *inside) if inside:
                return json_get(name, file, json_path(inside))
        return job(key, path)

    return output


# Several resources in one operator


def _parts(operator: Any, own: str) -> dict[str, Any]:
    """The requests in a config that may hold those of other resources beside ``own``."""
    config = operator.config
    if isinstance(config, Mapping) and own in config:
        return dict(config)
    return {own: config}


def _part_name(name: str, part: str) -> str:
    return f"{name[:48]}-{part}"


def _transform(task: Task) -> list[Step]:
    parts = _parts(task.operator, "Transform")
    steps = list(_model_of(task, parts))
    request = task.request(parts["Transform"], "TransformJobName", _TRANSFORM_INTEGERS)
    if steps and "ModelName" in request:
        model = Get("Steps", (Member(steps[0].name), Member("ModelName")))
        request = Object({**request, "ModelName": model})
    return [*steps, Step(task.name, "Transform", arguments=request)]


def _model_of(task: Task, parts: Mapping[str, Any]) -> Iterator[Step]:
    if parts.get("Model"):
        request = task.request(parts["Model"], "ModelName")
        yield Step(_part_name(task.name, "Model"), "Model", arguments=request)


def _transform_outputs(operator: Any, name: str) -> Output:
    parts = _parts(operator, "Transform")
    members = {"Transform": (name, parts["Transform"])}
    if parts.get("Model"):
        members["Model"] = (_part_name(name, "Model"), parts["Model"])
    return described(**members)


def _endpoint(task: Task) -> list[Step]:
    parts = _parts(task.operator, "Endpoint")
    steps = list(_model_of(task, parts))
    if parts.get("EndpointConfig"):
        request = task.request(parts["EndpointConfig"], None, ENDPOINT_CONFIG.integers)
        name = _part_name(task.name, "EndpointConfig")
        steps.append(Step(name, "EndpointConfig", arguments=request))
    if task.operator.operation == "update":
        what = "operation='update' is not kept: SageMaker updates an endpoint that exists"
        task.report("endpoint-update", "info", what)
    return [*steps, Step(task.name, "Endpoint", arguments=task.request(parts["Endpoint"], None))]


def _endpoint_outputs(operator: Any, name: str) -> Output:
    parts = _parts(operator, "Endpoint")
    members = {"Endpoint": (name, parts["Endpoint"])}
    if parts.get("EndpointConfig"):
        members["EndpointConfig"] = (_part_name(name, "EndpointConfig"), parts["EndpointConfig"])
    return described(**members)


def _part_names(own: str) -> Callable[[Any, str], Iterator[tuple[str, str, Get]]]:
    def names(operator: Any, name: str) -> Iterator[tuple[str, str, Get]]:
        parts = _parts(operator, own)
        for part, member in (("Model", "ModelName"), ("EndpointConfig", "EndpointConfigName")):
            if text := name_of(parts.get(part), member):
                yield part_get(_part_name(name, part), member, text)
        if own == "Endpoint" and (text := name_of(parts[own], "EndpointName")):
            yield part_get(name, "EndpointName", text)

    def part_get(step: str, member: str, text: str) -> tuple[str, str, Get]:
        return member, text, Get("Steps", (Member(step), Member(member)))

    return names


# Operators with arguments of their own


def _register(task: Task) -> list[Step]:
    operator = task.operator
    request: dict[str, Any] = {
        "ModelPackageGroupName": operator.package_group_name,
        "ModelApprovalStatus": operator.model_approval,
        "InferenceSpecification": {
            "Containers": [{"Image": operator.image_uri, "ModelDataUrl": operator.model_url}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    }
    if operator.package_desc:
        request["ModelPackageDescription"] = operator.package_desc
    if operator.package_group_desc:
        what = "package_group_desc is not kept: the step makes no group with a description"
        task.report("group-description", "dropped", what, "make the group beforehand")
    extras = task.values.of(operator.extras or {}, task.ask, templated=False)
    return [
        Step(
            task.name,
            "RegisterModel",
            arguments=Object({**task.request(request, None), **extras}),
        )
    ]


def _auto_ml(task: Task) -> list[Step]:
    operator = task.operator
    channel: dict[str, Any] = {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": operator.s3_input}},
        "TargetAttributeName": operator.target_attribute,
    }
    if operator.compressed_input:
        channel["CompressionType"] = "Gzip"
    request: dict[str, Any] = {
        "AutoMLJobName": operator.job_name,
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": operator.s3_output},
        "RoleArn": operator.role_arn,
    }
    if operator.time_limit:
        limit = {"MaxAutoMLJobRuntimeInSeconds": operator.time_limit}
        request["AutoMLJobConfig"] = {"CompletionCriteria": limit}
    request.update(operator.extras or {})
    deploys = request.pop("ModelDeployConfig", operator.autodeploy_endpoint_name)
    if deploys:
        what = "the best model is not deployed: an AutoML step does not deploy"
        task.report("auto-deploy", "dropped", what, "add Model, EndpointConfig and Endpoint steps")
    limit_at = "AutoMLJobConfig.CompletionCriteria.MaxAutoMLJobRuntimeInSeconds"
    arguments = task.request(request, "AutoMLJobName", (limit_at,))
    return [Step(task.name, "AutoML", arguments=arguments)]


def _lambda(task: Task) -> list[Step]:
    operator = task.operator
    function = operator.function_name
    if not isinstance(function, str) or is_template(function):
        raise Undoable("its function's name is known only when the DAG runs")
    if not function.startswith("arn:"):
        what = f"function_name {shown(function)} is no ARN, which a Lambda step needs"
        task.report("function-name", "changed", what, "write the function's ARN")
    if operator.qualifier:
        function = f"{function}:{operator.qualifier}"
    if operator.invocation_type not in (None, "RequestResponse"):
        what = f"invocation_type {operator.invocation_type!r}: a Lambda step waits for the answer"
        task.report("no-wait", "changed", what)
    if operator.client_context is not None:
        task.report("client-context", "dropped", "client_context has no place in a Lambda step")
    arguments = _event(task, operator.payload if operator.payload is not None else "{}", "payload")
    return [Step(task.name, "Lambda", arguments=arguments, extra=Object({"FunctionArn": function}))]


def _sqs(task: Task) -> list[Step]:
    operator = task.operator
    queue = operator.sqs_queue
    if not isinstance(queue, str) or is_template(queue):
        raise Undoable("its queue is known only when the DAG runs")
    what = (
        "the message is sent with a token, its text among the arguments, and the step waits until "
        "the receiver answers with SendPipelineExecutionStepSuccess"
    )
    task.report("callback-token", "changed", what, "let the receiver answer, or use a Lambda step")
    if dropped := [name for name in _SQS_DROPPED if getattr(operator, name)]:
        what = f"{', '.join(dropped)} of the message have no place in a Callback step"
        task.report("message-attributes", "dropped", what)
    arguments = _event(task, operator.message_content, "message_content")
    return [Step(task.name, "Callback", arguments=arguments, extra=Object({"SqsQueueUrl": queue}))]


_SQS_DROPPED = (
    "message_attributes",
    "delay_seconds",
    "message_group_id",
    "message_deduplication_id",
)


def _event(task: Task, text: Any, argument: str) -> Object:
    """JSON text, templates in it, as an object; other text as the one member ``message``."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if isinstance(text, str):
        found = arguments_of(text, task.values, task.ask)
        if found is not None:
            return found
    if argument == "payload":
        raise Undoable("its payload is no JSON object that is known before the DAG runs")
    return Object({"message": task.value(text)})


def _emr(task: Task) -> list[Step]:
    operator = task.operator
    if not isinstance(operator.steps, list) or not operator.steps:
        raise Undoable("its steps are known only when the DAG runs")
    cluster = operator.job_flow_id
    if cluster is None:
        what = f"the id of the cluster called {operator.job_flow_name}"
        found = task.ask(Unsayable("cluster-name", what, f"{task.name}_cluster"))
    else:
        found = task.value(cluster)
    names = emr_names(operator, task.name)
    if len(names) > 1:
        what = f"its {len(names)} EMR steps are a step each, one after the other"
        task.report("emr-steps", "info", what)
    steps: list[Step] = []
    for name, raw in zip(names, operator.steps, strict=True):
        config = {"HadoopJarStep": raw.get("HadoopJarStep", {})}
        arguments = {"ClusterId": found, "StepConfig": task.value(config)}
        if operator.execution_role_arn:
            arguments["ExecutionRoleArn"] = task.value(operator.execution_role_arn)
        action = raw.get("ActionOnFailure", "CONTINUE")
        if action not in ("CONTINUE", "CANCEL_AND_WAIT"):
            what = f"ActionOnFailure {shown(action)} has no place in an EMR step"
            task.report("emr-action", "dropped", what)
        after = (steps[-1].name,) if steps else ABSENT
        steps.append(Step(name, "EMR", arguments=Object(arguments), depends_on=after))
    return steps


def emr_names(operator: Any, name: str) -> list[str]:
    count = len(operator.steps) if isinstance(operator.steps, list) else 1
    if count == 1:
        return [name]
    return [_part_name(name, str(number)) for number in range(1, count + 1)]


def _emr_outputs(operator: Any, name: str) -> Output:
    names = emr_names(operator, name)

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key == "job_flow_id" and not path:
            return Get("Steps", (Member(names[0]), Member("ClusterId")))
        if key == RETURN_VALUE and len(path) == 1 and path[0] in range(len(names)):
            return Get("Steps", (Member(names[int(path[0])]), Member("Id")))
        raise Unsayable("xcom", "an XCom that has no place in the step's properties")

    return output


def _of(simple: Simple) -> Kind:
    return Kind(simple.build, outputs=simple.outputs, names=simple.names)


KINDS: Mapping[str, Kind] = {
    "SageMakerProcessingOperator": Kind(
        _processing,
        ("config", "output_files_to_xcom"),
        outputs=_processing_outputs,
        names=PROCESSING.names,
    ),
    "SageMakerTrainingOperator": _of(TRAINING),
    "SageMakerTuningOperator": _of(TUNING),
    "SageMakerModelOperator": _of(MODEL),
    "SageMakerEndpointConfigOperator": _of(ENDPOINT_CONFIG),
    "SageMakerTransformOperator": Kind(
        _transform, outputs=_transform_outputs, names=_part_names("Transform")
    ),
    "SageMakerEndpointOperator": Kind(
        _endpoint,
        ("config", "operation"),
        outputs=_endpoint_outputs,
        names=_part_names("Endpoint"),
    ),
    "SageMakerRegisterModelVersionOperator": Kind(
        _register,
        (
            "image_uri",
            "model_url",
            "package_group_name",
            "package_group_desc",
            "package_desc",
            "model_approval",
            "extras",
            "config",
        ),
        outputs=lambda _, name: under(name, "ModelPackageArn", rest=False),
    ),
    "SageMakerAutoMLOperator": Kind(
        _auto_ml,
        (
            "job_name",
            "s3_input",
            "target_attribute",
            "s3_output",
            "role_arn",
            "compressed_input",
            "time_limit",
            "autodeploy_endpoint_name",
            "extras",
            "config",
        ),
        outputs=lambda _, name: under(name, "BestCandidate"),
    ),
    "LambdaInvokeFunctionOperator": Kind(
        _lambda, ("function_name", "payload", "qualifier", "invocation_type", "client_context")
    ),
    "EmrAddStepsOperator": Kind(
        _emr,
        ("job_flow_id", "job_flow_name", "steps", "execution_role_arn"),
        outputs=_emr_outputs,
    ),
    "SqsPublishOperator": Kind(_sqs, ("sqs_queue", "message_content", *_SQS_DROPPED)),
}
CONDITION = "SageMakerConditionOperator"
