"""Write a ``prefect.yaml`` with the deployment of a pipeline's flow: its schedules and triggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sagebridge.authoring.prefect_deployment import (
    deployment_name,
    has_template,
    schedule_entries,
    trigger_entries,
    yaml_entry,
)
from sagebridge.authoring.prefect_schedules import schedule_losses
from sagebridge.authoring.runnable import described
from sagebridge.authoring.schedule_rules import starter_losses
from sagebridge.errors import MissingExtra
from sagebridge.formats.prefect.writer import FlowFileWriter
from sagebridge.model.display import safe_stem, shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

_HEAD = "# The flow is in {file}. `prefect deploy --all` makes this deployment.\n"
_WORK_POOL = "sagebridge"


def write(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """A ``prefect.yaml``, and the losses. Raises MissingExtra without PyYAML."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("writing YAML", "yaml") from error
    name, flow = deployment_name(pipeline), FlowFileWriter(pipeline)
    file = f"flows/{safe_stem(pipeline.name or 'pipeline')}.py"
    pairs = zip(pipeline.declared, flow.arguments, strict=True)
    arguments = {parameter.name: argument.name for parameter, argument in pairs}
    text = pipeline.description if isinstance(pipeline.description, str) else None
    schedules = list(schedule_entries(pipeline, arguments))
    fields: dict[str, Any] = {
        "name": name,
        "description": described(text, pipeline),
        "entrypoint": f"{file}:{flow.function}",
        "tags": [],
        "work_pool": {"name": _WORK_POOL},
        "enforce_parameter_schema": True,
        "concurrency_limit": pipeline.engine.concurrency or None,
        "schedules": schedules,
        "triggers": list(trigger_entries(pipeline, arguments, f"{flow.flow_name}/{name}")),
    }
    entry = {key: value for key, value in yaml_entry(fields).items() if value}
    document = yaml.safe_dump(
        {"deployments": [entry]}, sort_keys=False, allow_unicode=True, width=100
    )
    losses = (
        *schedule_losses(pipeline),
        *starter_losses(pipeline, "prefect"),
        *_losses(pipeline, file, schedules),
    )
    return _HEAD.format(file=file) + document, losses


def _losses(pipeline: Pipeline, file: str, schedules: Sequence[Any]) -> Iterator[Loss]:
    what, advice = "prefect.yaml has no steps", f"write the flow to {file} with --to prefect"
    yield Loss("deployment", "info", "", what, "prefect", advice)
    for one in filter(has_template, schedules):
        what = f"schedule {shown(one['slug'])} has a string that Prefect would render"
        yield Loss("schedule", "dropped", "", what, "prefect", "deploy with sagebridge deploy")
