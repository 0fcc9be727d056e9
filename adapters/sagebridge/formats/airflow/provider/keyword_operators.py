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
)
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get, Member
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Object, Value

SQS_DROPPED = (
    "message_attributes",
    "delay_seconds",
    "message_group_id",
    "message_deduplication_id",
)


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


def invoke(task: Task) -> list[Step]:
    operator = task.operator
    function = operator.function_name
    if not isinstance(function, str) or is_template(function):
        raise UnreadableTask("its function_name is only known at run time")
    if not function.startswith("arn:"):
        what = f"function_name {shown(function)} is not an ARN, which a Lambda step requires"
        task.report("function-name", "changed", what, "use the ARN of the function")
    if operator.qualifier:
        function = f"{function}:{operator.qualifier}"
    if operator.invocation_type not in (None, "RequestResponse"):
        what = f"invocation_type {shown(operator.invocation_type)} has no effect: the step waits"
        advice = "check that downstream steps may start that late"
        task.report("no-wait", "changed", what, advice)
    if operator.client_context is not None:
        what = "client_context has no effect: a Lambda step does not send it"
        task.report("client-context", "dropped", what, "add its values to the payload")
    arguments = _event(task, operator.payload if operator.payload is not None else "{}", "payload")
    return [Step(task.name, "Lambda", arguments=arguments, extra=Object({"FunctionArn": function}))]


def sqs(task: Task) -> list[Step]:
    operator = task.operator
    queue = operator.sqs_queue
    if not isinstance(queue, str) or is_template(queue):
        raise UnreadableTask("its sqs_queue is only known at run time")
    what = (
        "a Callback step wraps the message, adds a token and waits until the receiver calls "
        "SendPipelineExecutionStepSuccess"
    )
    advice = "make the receiver answer, or send the message from a Lambda step"
    task.report("callback-token", "changed", what, advice)
    if dropped := [name for name in SQS_DROPPED if getattr(operator, name)]:
        what = f"a Callback step does not set {', '.join(dropped)}"
        advice = "to keep this, send the message from a Lambda step"
        task.report("message-attributes", "dropped", what, advice)
    arguments = _event(task, operator.message_content, "message_content")
    return [Step(task.name, "Callback", arguments=arguments, extra=Object({"SqsQueueUrl": queue}))]


def _event(task: Task, text: Any, argument: str) -> Object:
    """A JSON string, possibly with templates, as an object; any other string as ``message``."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if isinstance(text, str):
        found = arguments_of(text, task.values, task.fallback)
        if found is not None:
            return found
    if argument == "payload":
        raise UnreadableTask("its payload is not a JSON object, or is only known at run time")
    return Object({"message": task.value(text)})


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
        task.report("emr-steps", "info", what)
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
