"""Deployments on a Prefect server: ``prefect://FLOW/DEPLOYMENT``.

The server is the one in ``PREFECT_API_URL`` or in the active profile. It has the schedules of a
deployment; the steps are in the file of the flow, if this machine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sagebridge.authoring.dag_pipeline import TYPES
from sagebridge.authoring.file_arguments import parameter_of
from sagebridge.authoring.json_values import flat_schema, kind_of
from sagebridge.errors import MissingExtra, ServiceError, SourceError
from sagebridge.formats.prefect.deployment_file import flat, flow_of, resolved
from sagebridge.formats.prefect.deployments import Deployment, Option, as_deployed, own_name
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import ABSENT

SCHEME = "prefect://"
_ON_A_POOL = ("work_pool_name", "work_queue_name", "job_variables")
_OPTIONS = ("parameters", "paused", "description", "tags", "version", "concurrency_limit")
"""The fields of a deployment that are read or reported."""
_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"


def readings(source: str, flows: Callable[[str], Sequence[FileReading]]) -> Iterator[FileReading]:
    """The flow of a deployment as it runs; ``flows`` reads those of a file.

    Raises :class:`SourceError`, :class:`ServiceError`, and :class:`MissingExtra` without Prefect.
    """
    flow_name, _, name = unquote(source.removeprefix(SCHEME)).partition("/")
    if not flow_name or not name:
        raise SourceError(source, "not a deployment", f"write {SCHEME}FLOW/DEPLOYMENT")
    found, automations = _fetch(source, f"{flow_name}/{name}")
    file, function = flow_of(found.get("entrypoint"))
    path = _existing(found, file)
    flow = None
    if path is not None:
        flow = next((one for one in flows(str(path)) if one.entry == function), None)
    if flow is None:
        flow = _without_steps(source, flow_name, found, file)
    deployment = _deployment(source, name, function, found, automations)
    yield replace(as_deployed(_only_deployed(flow, deployment), deployment), name=name)


def _fetch(source: str, full_name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The deployment and its automations, as JSON."""
    try:
        import httpx
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
        from prefect.settings import PREFECT_API_URL
    except ImportError as error:
        raise MissingExtra("reading a Prefect server", "prefect", source) from error
    if not PREFECT_API_URL.value():
        raise SourceError(source, "no Prefect server is configured", "set PREFECT_API_URL")
    try:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(full_name)
            resource = f"prefect.deployment.{found.id}"
            automations = client.read_resource_related_automations(resource)
    except ObjectNotFound:
        raise SourceError(source, f"the server has no deployment {full_name!r}") from None
    except (PrefectHTTPStatusError, httpx.HTTPError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ServiceError(f"{source}: the Prefect server does not answer: {problem}") from error
    return found.model_dump(mode="json"), [one.model_dump(mode="json") for one in automations]


def _deployment(
    source: str,
    name: str,
    function: str,
    found: Mapping[str, Any],
    automations: Sequence[Mapping[str, Any]],
) -> Deployment:
    def option(key: str, value: Any) -> Option:
        return Option(key, resolved(value), flat(value), source)

    return Deployment(
        name,
        function,
        source,
        schedules=tuple(
            option("schedule", _stated({**one["schedule"], **_settings(one)}))
            for one in found["schedules"]
        ),
        triggers=tuple(
            option("trigger", _stated({**one["trigger"], **_settings(one)}))
            for one in automations
            if any(action.get("type") == "run-deployment" for action in one["actions"])
        ),
        options=tuple(
            option(key, found[key]) for key in (*_OPTIONS, *_ON_A_POOL) if found.get(key)
        ),
    )


def _settings(one: Mapping[str, Any]) -> dict[str, Any]:
    names = ("active", "enabled", "name", "parameters", "slug", "max_scheduled_runs")
    return {name: one[name] for name in names if name in one}


def _stated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without the empty settings that the API adds."""
    return {name: value for name, value in given.items() if value not in (None, {}, [])}


def _existing(found: Mapping[str, Any], file: str) -> Path | None:
    """The flow's file, if this machine has it."""
    steps = [one for one in found.get("pull_steps") or () if isinstance(one, Mapping)]
    folders = [(one.get(_WORKING_DIRECTORY) or {}).get("directory") for one in steps]
    for folder in (*folders, found.get("path"), "."):
        if isinstance(folder, str) and file and (path := Path(folder, file)).is_file():
            return path
    return None


def _without_steps(source: str, flow: str, found: Mapping[str, Any], file: str) -> FileReading:
    """A pipeline without steps, with the parameters that the server has."""
    parameters = dict(_parameters(found.get("parameter_openapi_schema") or {}))
    what = f"the flow's file {file!r} is not on this machine: the pipeline has no steps"
    advice = "add the schedules to the flow with --schedules, or run this where the file is"
    lost = Loss("deployment", "dropped", source, what, "pipeline", advice)
    pipeline = Pipeline(
        name=flow, steps=(), parameters=tuple(parameters.values()), origin="a Prefect deployment"
    )
    return FileReading(flow, pipeline, (lost,), 1, {}, arguments=tuple(parameters))


def _parameters(schema: Mapping[str, Any]) -> Iterator[tuple[str, Parameter]]:
    """The parameters by the flow's arguments; `sagebridge deploy` puts their names into titles."""
    required = schema.get("required") or ()
    for argument, given in (schema.get("properties") or {}).items():
        if not isinstance(given, Mapping):
            continue
        flat = flat_schema(dict(given), schema.get("definitions") or {})
        kind = kind_of(flat)
        if kind is None or kind.get("type") not in TYPES:
            continue
        nullable = any(one.get("type") == "null" for one in flat.get("anyOf", ()))
        choices = {**flat, **kind}.get("enum", ABSENT)
        members = {
            "Name": given.get("title") or argument,
            "Type": TYPES[kind["type"]],
            "DefaultValue": ABSENT if argument in required else given.get("default", ABSENT),
            "EnumValues": choices,
            "Description": given.get("description", ABSENT),
        }
        if (parameter := parameter_of(members, kind, nullable=nullable)) is not None:
            yield argument, parameter


def _only_deployed(flow: FileReading, deployment: Deployment) -> FileReading:
    """The flow without the schedules and triggers of its file that the server does not have."""
    deployed = {own_name(one, "slug") for one in deployment.schedules}
    deployed |= {own_name(one, "name") for one in deployment.triggers}
    pipeline = flow.pipeline
    losses = [
        Loss(
            "schedule",
            "info",
            deployment.place,
            f"{one.name!r} of the flow's file is not on the server",
            "pipeline",
            "run `sagebridge deploy`",
        )
        for one in pipeline.starters
        if one.name not in deployed
    ]
    kept = replace(
        pipeline,
        schedules=tuple(one for one in pipeline.schedules if one.name in deployed),
        event_triggers=tuple(one for one in pipeline.event_triggers if one.name in deployed),
    )
    return replace(flow, pipeline=kept, losses=(*flow.losses, *losses))
