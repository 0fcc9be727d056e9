"""Events that start a pipeline, and the parameters that they set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sagebridge.model.converters import convert
from sagebridge.model.display import shown
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, EMPTY, Absent, Object, Strict, Value


@dataclass(frozen=True, slots=True, eq=False)
class EventTrigger(Strict):
    """An event that starts an execution.

    Args:
        name: unique among the triggers and schedules of a pipeline.
        pattern: an EventBridge event pattern. Without one, any message of the queue starts an
            execution, as with EventBridge Pipes.
        parameters: parameters of its executions: a JSON path into the event such as
            ``$.detail.object.key``, a text with such paths, as in
            ``s3://<$.detail.bucket.name>/<$.detail.object.key>``, or a constant. For a message
            without a pattern, paths begin with ``$.body``, as in EventBridge Pipes.
        queue: the URL of the SQS queue in which Airflow and Prefect find the events.
        enabled: whether events start executions.
        description: as in EventBridge.
        extra: every other key of the rule or pipe.
    """

    name: str
    pattern: Object = EMPTY
    parameters: Object = EMPTY
    queue: str | Absent = ABSENT
    enabled: bool = True
    description: str | Absent = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            pattern: Mapping[str, Value] = EMPTY,
            parameters: Mapping[str, Value] = EMPTY,
            queue: str | Absent = ABSENT,
            enabled: bool = True,
            description: str | Absent = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, f"event trigger {shown(self.name)}")


Starter: TypeAlias = Schedule | EventTrigger
"""What starts a pipeline."""


def s3_object_created(
    name: str,
    bucket: str,
    prefix: str = "",
    *,
    parameters: Mapping[str, Value] = EMPTY,
    queue: str | Absent = ABSENT,
) -> EventTrigger:
    """Start when an object is created in a bucket that sends its events to EventBridge."""
    detail: dict[str, Value] = {"bucket": {"name": [bucket]}}
    if prefix:
        detail["object"] = {"key": [{"prefix": prefix}]}
    return EventTrigger(name, _pattern("aws.s3", "Object Created", detail), parameters, queue)


def model_package_changed(
    name: str,
    group: str,
    status: str = "Approved",
    *,
    parameters: Mapping[str, Value] = EMPTY,
    queue: str | Absent = ABSENT,
) -> EventTrigger:
    """Start when a model package of a group gets an approval status."""
    detail = {"ModelPackageGroupName": [group], "ModelApprovalStatus": [status]}
    pattern = _pattern("aws.sagemaker", "SageMaker Model Package State Change", detail)
    return EventTrigger(name, pattern, parameters, queue)


def pipeline_ended(
    name: str,
    pipeline: str,
    statuses: Sequence[str] = ("Succeeded",),
    *,
    parameters: Mapping[str, Value] = EMPTY,
    queue: str | Absent = ABSENT,
) -> EventTrigger:
    """Start when an execution of another pipeline, given by its ARN, ends."""
    detail = {"pipelineArn": [pipeline], "currentPipelineExecutionStatus": list(statuses)}
    kind = "SageMaker Model Building Pipeline Execution Status Change"
    return EventTrigger(name, _pattern("aws.sagemaker", kind, detail), parameters, queue)


def sqs_message(name: str, queue: str, *, parameters: Mapping[str, Value] = EMPTY) -> EventTrigger:
    """Start for each message of a queue."""
    return EventTrigger(name, EMPTY, parameters, queue)


def _pattern(source: str, kind: str, detail: Mapping[str, Value]) -> dict[str, Value]:
    return {"source": [source], "detail-type": [kind], "detail": detail}
