"""Operators whose ``config`` is one request, or the requests for a model and what uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.formats.airflow.provider.provider_task import (
    Task,
    UnreadableTask,
    describe_output,
    name_of,
    part_name,
)
from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Output,
    Part,
    is_template,
    json_path,
)
from sagebridge.model.expressions import Get, Member, json_get, properties_of
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import PropertyFile
from sagebridge.model.values import Object, Value

_ARTIFACTS = "/output/model.tar.gz"


@dataclass(frozen=True, slots=True)
class ConfigOperator:
    """An operator that sends its ``config`` as one request.

    Attributes:
        type: the step type.
        job_name: the field with the name of the job; None if the service does not generate it.
        wrapper: the key of its XCom.
    """

    type: str
    job_name: str | None
    wrapper: str

    def build(self, task: Task) -> list[Step]:
        request = task.request(task.operator.config, self.type, self.job_name)
        return [Step(task.name, self.type, arguments=request)]

    def outputs(self, operator: Any, name: str) -> Output:
        return describe_output(**{self.wrapper: (name, operator.config)})

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


PROCESSING = ConfigOperator("Processing", "ProcessingJobName", "Processing")
TRAINING = ConfigOperator("Training", "TrainingJobName", "Training")
TUNING = ConfigOperator("Tuning", "HyperParameterTuningJobName", "Tuning")
MODEL = ConfigOperator("Model", "ModelName", "Model")
ENDPOINT_CONFIG = ConfigOperator("EndpointConfig", None, "EndpointConfig")


def processing(task: Task) -> list[Step]:
    (step,) = PROCESSING.build(task)
    files = getattr(task.operator, "output_files_to_xcom", None)
    if not files:
        return [step]
    found = []
    for file in files if isinstance(files, list | tuple) else [None]:
        names = ("result_name", "output_name", "file_name")
        parts = [file.get(name) for name in names] if isinstance(file, Mapping) else [None]
        if not all(isinstance(part, str) and not is_template(part) for part in parts):
            raise UnreadableTask("its output_files_to_xcom are only known at run time")
        found.append(PropertyFile(*parts))
    what = "a missing file of output_files_to_xcom fails the step that reads it"
    task.report("output-file", "info", what)
    return [
        Step(step.name, step.type, arguments=step.arguments, property_files=tuple(found)),
    ]


def processing_outputs(operator: Any, name: str) -> Output:
    job = PROCESSING.outputs(operator, name)

    def output(key: str, path: tuple[Part, ...]) -> Value:
        match path if key == RETURN_VALUE else (key, *path):
            case ("OutputFiles", str(file), *inside) if inside:
                return json_get(name, file, json_path(inside))
        return job(key, path)

    return output


def _parts(operator: Any, own: str) -> dict[str, Any]:
    """The requests in a config, by resource; a config without the key ``own`` is that request."""
    config = operator.config
    if isinstance(config, Mapping) and own in config:
        return dict(config)
    return {own: config}


def transform(task: Task) -> list[Step]:
    parts = _parts(task.operator, "Transform")
    steps = list(_model_of(task, parts))
    request = task.request(parts["Transform"], "Transform", "TransformJobName")
    if steps and "ModelName" in request:
        model = Get("Steps", (Member(steps[0].name), Member("ModelName")))
        request = Object({**request, "ModelName": model})
    return [*steps, Step(task.name, "Transform", arguments=request)]


def _model_of(task: Task, parts: Mapping[str, Any]) -> Iterator[Step]:
    if parts.get("Model"):
        name = part_name(task.name, "Model")
        request = task.request(parts["Model"], "Model", "ModelName", step=name)
        yield Step(name, "Model", arguments=request)


def transform_outputs(operator: Any, name: str) -> Output:
    parts = _parts(operator, "Transform")
    members = {"Transform": (name, parts["Transform"])}
    if parts.get("Model"):
        members["Model"] = (part_name(name, "Model"), parts["Model"])
    return describe_output(**members)


def endpoint(task: Task) -> list[Step]:
    parts = _parts(task.operator, "Endpoint")
    steps = list(_model_of(task, parts))
    if parts.get("EndpointConfig"):
        name = part_name(task.name, "EndpointConfig")
        request = task.request(parts["EndpointConfig"], "EndpointConfig", step=name)
        steps.append(Step(name, "EndpointConfig", arguments=request))
    if task.operator.operation == "update":
        what = "operation='update' is not needed: an Endpoint step updates an existing endpoint"
        task.report("endpoint-update", "info", what)
    request = task.request(parts["Endpoint"], "Endpoint")
    return [*steps, Step(task.name, "Endpoint", arguments=request)]


def endpoint_outputs(operator: Any, name: str) -> Output:
    parts = _parts(operator, "Endpoint")
    members = {"Endpoint": (name, parts["Endpoint"])}
    if parts.get("EndpointConfig"):
        members["EndpointConfig"] = (part_name(name, "EndpointConfig"), parts["EndpointConfig"])
    return describe_output(**members)


def part_names(own: str) -> Callable[[Any, str], Iterator[tuple[str, str, Get]]]:
    def names(operator: Any, name: str) -> Iterator[tuple[str, str, Get]]:
        parts = _parts(operator, own)
        for part, field in (("Model", "ModelName"), ("EndpointConfig", "EndpointConfigName")):
            if text := name_of(parts.get(part), field):
                yield part_get(part_name(name, part), field, text)
        if own == "Endpoint" and (text := name_of(parts[own], "EndpointName")):
            yield part_get(name, "EndpointName", text)

    def part_get(step: str, field: str, text: str) -> tuple[str, str, Get]:
        return field, text, Get("Steps", (Member(step), Member(field)))

    return names
