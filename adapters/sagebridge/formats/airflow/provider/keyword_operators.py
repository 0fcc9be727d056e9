"""Operators that build their request from keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.formats.airflow.json_templates import arguments_of
from sagebridge.formats.airflow.provider.provider_task import Task, UnreadableTask, part_name
from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Output,
    Part,
    RunTimeValue,
    is_template,
    tokens_of,
)
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get, Key, Member
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Object, Value


def register(task: Task) -> list[Step]:
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
        what = "package_group_desc has no effect: the step creates the group without a description"
        task.report(
            "group-description",
            "dropped",
            what,
            "create the group yourself before the first execution",
        )
    extras = task.values.of(_extras(operator), task.fallback, templated=False)
    return [
        Step(
            task.name,
            "RegisterModel",
            arguments=Object({**task.request(request, "RegisterModel"), **extras}),
        )
    ]


def registered(task: Task) -> list[Step]:
    """The step of the function ``register_model`` of a native DAG."""
    if task.operator.op_kwargs.get("connection"):
        what = "its connection is that of the function, so the step has the default"
        task.report("aws-connection", "changed", what, "add the connection to the step")
    request = task.request(task.operator.op_kwargs["request"], "RegisterModel")
    return [Step(task.name, "RegisterModel", arguments=request)]


def fail(task: Task) -> list[Step]:
    """The step of the function ``fail`` of a native DAG."""
    message = task.value(task.operator.op_kwargs["message"])
    return [Step(task.name, "Fail", arguments=Object({"ErrorMessage": message}))]


def _extras(operator: Any) -> Mapping[str, Any]:
    extras = operator.extras or {}
    if not isinstance(extras, Mapping):
        raise UnreadableTask("its extras are only known at run time")
    return extras


def auto_ml(task: Task) -> list[Step]:
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
    request.update(_extras(operator))
    deploys = request.pop("ModelDeployConfig", operator.autodeploy_endpoint_name)
    if deploys:
        what = "an AutoML step does not deploy the best model"
        task.report("auto-deploy", "dropped", what, "add Model, EndpointConfig and Endpoint steps")
    arguments = task.request(request, "AutoML", "AutoMLJobName")
    return [Step(task.name, "AutoML", arguments=arguments)]


def is_lambda_step(operator: Any) -> bool:
    """Whether a Lambda step does the same: it has an ARN, sends an object and waits."""
    function, payload = operator.function_name, operator.payload
    if not isinstance(function, str) or not function.startswith("arn:") or is_template(function):
        return False
    waits = operator.invocation_type in (None, "RequestResponse")
    is_object = payload is None or (isinstance(payload, str) and payload.lstrip().startswith("{"))
    return waits and is_object and operator.client_context is None


def invoke(task: Task) -> list[Step]:
    operator = task.operator
    function = operator.function_name
    if operator.qualifier:
        function = f"{function}:{operator.qualifier}"
    event = arguments_of(operator.payload or "{}", task.values, task.fallback)
    if event is None:
        raise UnreadableTask("its payload is not a JSON object, or is only known at run time")
    return [Step(task.name, "Lambda", arguments=event, extra=Object({"FunctionArn": function}))]


def lambda_output(step: str) -> Output:
    """The XCom of a Lambda function is JSON text; what that has below a key is an output."""

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key != RETURN_VALUE or not path:
            raise RunTimeValue("xcom", "an XCom that is not a property of the step")
        name, *rest = path
        tokens = (Member(step), Member("OutputParameters"), Key(str(name)))
        return Get("Steps", (*tokens, *tokens_of(None, rest)))

    return output


def emr(task: Task) -> list[Step]:
    operator = task.operator
    listed = isinstance(operator.steps, list) and operator.steps
    if not listed or not all(isinstance(one, Mapping) for one in operator.steps):
        raise UnreadableTask("its steps are only known at run time")
    cluster = operator.job_flow_id
    if cluster is None:
        what = f"the id of the cluster {shown(operator.job_flow_name)}"
        found = task.fallback(RunTimeValue("cluster-name", what, f"{task.name}_cluster"))
    else:
        found = task.value(cluster)
    names = emr_names(operator, task.name)
    if len(names) > 1:
        what = f"its {len(names)} EMR steps become {len(names)} steps, one after the other"
        advice = "use the id of each step, not the task's list of ids"
        task.report("emr-steps", "changed", what, advice)
    steps: list[Step] = []
    for name, raw in zip(names, operator.steps, strict=True):
        config = {"HadoopJarStep": raw.get("HadoopJarStep", {})}
        arguments = {"ClusterId": found, "StepConfig": task.value(config)}
        if operator.execution_role_arn:
            arguments["ExecutionRoleArn"] = task.value(operator.execution_role_arn)
        if others := sorted(raw.keys() - {"ActionOnFailure", "HadoopJarStep", "Name"}):
            what = f"an EMR step of a pipeline has no {', '.join(others)}"
            task.report("emr-action", "dropped", what)
        if "Name" in raw:
            what = f"Name {shown(raw['Name'])} is replaced by a generated name"
            task.report("job-name", "info", what)
        action = raw.get("ActionOnFailure", "CONTINUE")
        if action not in ("CONTINUE", "CANCEL_AND_WAIT"):
            what = f"ActionOnFailure {shown(action)} has no effect: the cluster keeps running"
            advice = "terminate the cluster yourself if the step fails"
            task.report("emr-action", "dropped", what, advice)
        after = (steps[-1].name,) if steps else ABSENT
        steps.append(Step(name, "EMR", arguments=Object(arguments), depends_on=after))
    return steps


def emr_names(operator: Any, name: str) -> list[str]:
    count = len(operator.steps) if isinstance(operator.steps, list) else 1
    if count == 1:
        return [name]
    return [part_name(name, str(number)) for number in range(1, count + 1)]


def emr_outputs(operator: Any, name: str) -> Output:
    names = emr_names(operator, name)

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key == "job_flow_id" and not path:
            return Get("Steps", (Member(names[0]), Member("ClusterId")))
        if key == RETURN_VALUE and len(path) == 1 and path[0] in range(len(names)):
            return Get("Steps", (Member(names[int(path[0])]), Member("Id")))
        raise RunTimeValue("xcom", "an XCom that is not a property of the step")

    return output
