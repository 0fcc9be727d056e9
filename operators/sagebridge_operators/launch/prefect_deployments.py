"""Deployments on a Prefect server."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events import Automation, AutomationCore, DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError, ScriptError
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from sagebridge.authoring.flow_signature import live_arguments
from sagebridge.authoring.prefect_deployment import (
    EVENT,
    SLUG,
    deployment_name,
    forwarded_records,
    schedule_entries,
    trigger_entries,
)
from sagebridge.authoring.runnable import described
from sagebridge.authoring.schedule_rules import require_startable
from sagebridge.errors import ServiceError, SourceError
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import ABSENT, thaw
from sagebridge_operators.launch.flow_deployment import (
    Deployment,
    FlowFile,
    relative,
    tags_of,
)
from sagebridge_operators.prefect.event_forwarder import SECONDS, forward_events, forwarder
from sagebridge_operators.run_errors import NoPrefectServer


# The schedules and automations of a deployment on a Prefect server.
#
# Only those that sagebridge made are changed: their slugs and names begin with a mark.
class Starters:
    """What starts a deployment: its schedules and the automations of its event triggers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._mark = f"{SLUG}{deployment.full_name}/"

    def changed(self, client: Any, id: UUID, schedules: Sequence[Any]) -> list[str]:
        """The words for what :meth:`apply` would change."""
        removed, added = self._schedules(schedules)
        words = {
            "schedules": removed or added,
            "event triggers": list(self._automations(client, id)),
        }
        return [word for word, differs in words.items() if differs]

    def apply(self, client: Any, id: UUID, schedules: Sequence[Any]) -> None:
        """Create, replace and delete what differs. A removed schedule has no more runs."""
        removed, added = self._schedules(schedules)
        for one in removed:
            client.delete_deployment_schedule(id, one.id)
        if added:
            client.create_deployment_schedules(id, added)
        for current, wanted in self._automations(client, id):
            if wanted is None:
                client.delete_automation(current.id)
            elif current is None:
                client.create_automation(wanted)
            else:
                client.update_automation(current.id, wanted)

    def _automations(self, client: Any, id: UUID) -> Iterator[tuple[Any, Any]]:
        """The automations that differ, as (on the server, wanted); None is one that is missing."""
        related = client.read_resource_related_automations(f"prefect.deployment.{id}")
        ours = {one.name: one for one in related if one.name.startswith(self._mark)}
        for entry in self.deployment.triggers:
            trigger = DeploymentEventTrigger.model_validate(entry)
            trigger.set_deployment_id(id)
            wanted = trigger.as_automation()
            current = ours.pop(wanted.name, None)
            if current is None or not _same(current, wanted):
                yield current, wanted
        yield from ((current, None) for current in ours.values())

    def _schedules(self, found: Sequence[Any]) -> tuple[list[Any], list[DeploymentScheduleCreate]]:
        """The schedules on the server that differ or are gone, and those to create."""
        ours = {one.slug: one for one in found if (one.slug or "").startswith(SLUG)}
        added = []
        for wanted in self._wanted(ours):
            current = ours.get(wanted.slug)
            if current is not None and _content(current) == _content(wanted):
                del ours[wanted.slug]
            else:
                added.append(wanted)
        return list(ours.values()), added

    def _wanted(self, ours: Any) -> Iterator[DeploymentScheduleCreate]:
        for entry in self.deployment.schedules:
            fields = dict(entry)
            more = {name: fields.pop(name) for name in ("slug", "active", "parameters")}
            current: Any = getattr(ours.get(more["slug"]), "schedule", None)
            if "interval" in fields and hasattr(current, "anchor_date"):
                # A rate without a start counts from when its schedule was created.
                fields.setdefault("anchor_date", current.anchor_date)
            yield DeploymentScheduleCreate.model_validate({"schedule": fields, **more})


def _content(schedule: Any) -> dict[str, Any]:
    names = {"schedule", "active", "parameters"}
    found: dict[str, Any] = schedule.model_dump(mode="json", include=names)
    return found


def _same(current: Automation, wanted: AutomationCore) -> bool:
    """Whether the server would store the same automation."""
    names = {"name", "description", "enabled", "trigger", "actions"}
    left, right = (one.model_dump(mode="json", include=names) for one in (current, wanted))
    for one in (left, right):
        one["trigger"].pop("id", None)
    return bool(left == right)


# The deployments that forward the messages of SQS queues to the automations of event triggers.
#
# All deployments whose triggers have the same queue share one forwarder, since a message can be
# read only once. Deploying replaces only the triggers of the deployment.
_ENTRYPOINT = "sagebridge_operators.prefect.event_forwarder.forwarder"
_SLUG = "sagebridge.events"


class Forwarders:
    """The forwarders of one deployment's event triggers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._mark = f"{EVENT}.{deployment.full_name}/"

    def changed(self, client: Any) -> list[str]:
        """The word for what :meth:`apply` would change."""
        return ["event forwarder"] if any(self._differing(client)) else []

    def apply(self, client: Any) -> None:
        """Create, update and delete forwarders, so that they have the deployment's triggers."""
        for found, name, parameters in self._differing(client):
            if found is None:
                created = client.create_deployment(
                    flow_id=client.create_flow_from_name(forwarder.name),
                    name=name,
                    schedules=[_schedule()],
                    parameters=parameters,
                    **self._body(),
                )
                # The first slot of its schedule is one interval later.
                client.create_flow_run_from_deployment(created)
            elif parameters["triggers"]:
                update = DeploymentUpdate(parameters=parameters, **self._body())
                client.update_deployment(found.id, update)
            else:
                client.delete_deployment(found.id)

    def _body(self) -> dict[str, Any]:
        return {
            "entrypoint": _ENTRYPOINT,
            "work_pool_name": self.deployment.work_pool,
            "job_variables": dict(self.deployment.job_variables),
            "parameter_openapi_schema": parameter_schema(forward_events).model_dump(
                exclude_unset=True
            ),
            "tags": ["sagebridge"],
        }

    def _differing(self, client: Any) -> Iterator[tuple[Any, str, dict[str, Any]]]:
        """Forwarders on the server, or None, that need other parameters; with their names."""
        flows = FlowFilter(name=FlowFilterName(any_=[forwarder.name]))
        found = {one.name: one for one in client.read_deployments(flow_filter=flows)}
        wanted: dict[str, dict[str, Any]] = {
            name: {**one.parameters, "triggers": self._others(one)} for name, one in found.items()
        }
        for queue, record in self.deployment.forwarded:
            name = re.sub(r"[^\w.-]+", "-", queue.partition("://")[2])
            new = wanted.setdefault(name, {"queue": queue, "triggers": []})
            new["triggers"].append(json.dumps(record, sort_keys=True))
        for name, parameters in wanted.items():
            parameters["triggers"].sort()
            if name not in found or found[name].parameters != parameters:
                yield found.get(name), name, parameters

    def _others(self, found: Any) -> list[str]:
        """The triggers of other deployments."""
        return [
            one
            for one in found.parameters["triggers"]
            if not str(json.loads(one)["resource"]).startswith(self._mark)
        ]


def _schedule() -> DeploymentScheduleCreate:
    every = IntervalSchedule.model_validate({"interval": SECONDS})
    return DeploymentScheduleCreate(schedule=every, active=True, slug=_SLUG)


Outcome = Literal["created", "updated", "unchanged"]
_WORDS = {
    "work_pool_name": "work pool",
    "job_variables": "job variables",
    "pull_steps": "folder",
    "parameter_openapi_schema": "parameters",
    "enforce_parameter_schema": "parameter checks",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one deployment; ``changed`` lists the parts that differed."""

    outcome: Outcome
    changed: tuple[str, ...] = ()
    url: str | None = None


def deployments(
    file: FlowFile, *, work_pool: str, variables: Mapping[str, str]
) -> Iterator[Deployment]:
    """One deployment per flow of a file. Imports the file. Raises SourceError, ScheduleError."""
    folder, now = Path.cwd(), datetime.now(UTC)
    with file.readable() as path:
        found = [(function, _load_flow(path, function)) for function in file.functions()]
    selected = [one for one in found if file.wanted in (None, one[1].name)]
    if len(selected) != len(file.pipelines):
        raise SourceError(str(file.path), "a flow is not defined with @flow on a function")
    for (function, flow), pipeline in zip(selected, file.pipelines, strict=True):
        require_startable(pipeline)
        name, arguments = deployment_name(pipeline), _argument_names(flow, pipeline)
        yield Deployment(
            flow=flow.name,
            name=name,
            entrypoint=f"{relative(file.path, folder)}:{function}",
            version=flow.version,
            description=described(_description(flow, pipeline), pipeline),
            tags=tags_of(pipeline),
            concurrency=pipeline.engine.concurrency or None,
            work_pool=work_pool,
            job_variables={"env": dict(variables)} if variables else {},
            parameters=schema(flow, pipeline),
            folder=folder,
            schedules=tuple(schedule_entries(pipeline, arguments, now)),
            triggers=tuple(trigger_entries(pipeline, arguments, f"{flow.name}/{name}")),
            forwarded=tuple(forwarded_records(pipeline, arguments, f"{flow.name}/{name}")),
        )


def _argument_names(flow: Flow[..., Any], pipeline: Pipeline) -> dict[str, str]:
    """The flow's arguments by the name of the pipeline's parameter."""
    names = {one.name: one.name for one in pipeline.declared}
    arguments = live_arguments(flow.fn)
    if len(arguments) == len(pipeline.declared):
        pairs = zip(pipeline.declared, arguments, strict=True)
        names |= {parameter.name: argument.name for parameter, argument in pairs}
    return names


def _load_flow(path: Path, function: str) -> Any:
    try:
        # A placeholder flow would hide import errors (prefect/flows.py).
        return load_flow_from_entrypoint(
            f"{path.absolute()}:{function}", use_placeholder_flow=False
        )
    except ScriptError as error:
        cause = error.user_exc
        frames = traceback.extract_tb(cause.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise SourceError(where, f"cannot be imported: {type(cause).__name__}: {cause}") from None
    except SystemExit:
        raise SourceError(str(path), "calls sys.exit() when imported") from None


def _description(flow: Flow[..., Any], pipeline: Pipeline) -> str:
    """The description of the pipeline or flow, without the Args section of a docstring."""
    if isinstance(pipeline.description, str):
        return pipeline.description
    return (flow.description or "").partition("\nArgs:")[0].strip()


def schema(flow: Flow[..., Any], pipeline: Pipeline) -> dict[str, Any]:
    """The parameter schema: the flow's, completed from the pipeline; no other parameters."""
    found = parameter_schema(flow.fn).model_dump(exclude_unset=True)
    arguments, declared = live_arguments(flow.fn), pipeline.declared
    if len(arguments) == len(declared):
        for argument, parameter in zip(arguments, declared, strict=True):
            one = found["properties"][argument.name]
            one["title"] = parameter.name
            if parameter.enum_values is not ABSENT:
                null = [None] if parameter.nullable else []
                one.setdefault("enum", [*thaw(parameter.enum_values), *null])
            if parameter.description is not ABSENT:
                one["description"] = parameter.description
    return {**found, "additionalProperties": False}


class Server:
    """The Prefect server set by PREFECT_API_URL or the profile."""

    def __init__(self, client: Any, url: str) -> None:
        self._client, self._url = client, url

    def has_pool(self, name: str) -> bool:
        try:
            self._client.read_work_pool(name)
        except ObjectNotFound:
            return False
        return True

    def create_pool(self, name: str) -> None:
        """Create a pool whose workers run each flow run in a local process."""
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(name=name, type="process", base_job_template=template)
        self._client.create_work_pool(pool)

    def compare(self, deployment: Deployment) -> Result:
        """What :meth:`apply` would do, without doing it."""
        found = self._find(deployment)
        if found is None:
            return Result("created")
        starters = Starters(deployment)
        changed = [_WORDS.get(field, field) for field in _changed(found, deployment)]
        changed += starters.changed(self._client, found.id, found.schedules)
        changed += Forwarders(deployment).changed(self._client)
        outcome: Outcome = "updated" if changed else "unchanged"
        return Result(outcome, tuple(changed), _page(found.id))

    def apply(self, deployment: Deployment) -> Result:
        """Create or update a deployment; leave it untouched if nothing differs.

        Raises ServiceError if the server rejects it.
        """
        with _rejections(self._url, deployment.full_name):
            found, result = self._find(deployment), self.compare(deployment)
            starters = Starters(deployment)
            if found is None:
                flow_id = self._client.create_flow_from_name(deployment.flow)
                created = self._client.create_deployment(
                    flow_id=flow_id, name=deployment.name, **deployment.body()
                )
                starters.apply(self._client, created, ())
                Forwarders(deployment).apply(self._client)
                return Result("created", url=_page(created))
            if changed := _changed(found, deployment):
                # Send only differing fields, to keep schedules and other server settings.
                self._client.update_deployment(found.id, DeploymentUpdate(**changed))
            starters.apply(self._client, found.id, found.schedules)
            Forwarders(deployment).apply(self._client)
            return result

    def _find(self, deployment: Deployment) -> Any:
        found = self._client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[deployment.flow])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment.name])),
        )
        return found[0] if found else None


def _changed(found: Any, deployment: Deployment) -> dict[str, Any]:
    stored = found.model_dump(mode="json")
    # The server answers with a global limit (DeploymentResponse in prefect's schemas).
    stored["concurrency_limit"] = (stored["global_concurrency_limit"] or {}).get("limit")
    return {
        field: value
        for field, value in deployment.body().items()
        if _comparable(stored[field]) != _comparable(value)
    }


def _comparable(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) and all(map(_is_text, value)) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _page(deployment: Any) -> str | None:
    ui = PREFECT_UI_URL.value()
    return f"{ui}/deployments/deployment/{deployment}" if ui else None


@contextmanager
def connect() -> Iterator[Server]:
    """Connect to the server. Raises NoPrefectServer, or ServiceError for rejected requests."""
    url = PREFECT_API_URL.value()
    if not url:
        raise NoPrefectServer(None)
    shown = _without_login(url)
    with _rejections(shown), get_client(sync_client=True) as client:
        if (problem := client.api_healthcheck()) is not None:
            raise NoPrefectServer(shown, str(problem) or type(problem).__name__)
        yield Server(client, shown)


def _without_login(url: str) -> str:
    """A URL without user and password, for messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def _rejections(url: str, what: str = "the request") -> Iterator[None]:
    try:
        yield
    except PrefectHTTPStatusError as error:
        raise ServiceError(f"Prefect at {url} rejected {what}: {_detail(error)}") from error
    except httpx.HTTPError as error:
        raise NoPrefectServer(url, str(error) or type(error).__name__) from error


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        body = error.response.json()
    except ValueError:
        return f"{error.response.status_code} {error.response.text[:500]}"
    detail = body.get("detail", body) if isinstance(body, dict) else body
    return f"{error.response.status_code} {detail}"
